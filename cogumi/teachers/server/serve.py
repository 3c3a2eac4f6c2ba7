"""Run the loopback provider: in this process (`serve`), or as a child that ends with its parent (`LoopbackProcess`).

with LoopbackProcess(Behaviour(latency_s=0.05, fault_share=0.02)) as provider:
    provider.url        # http://127.0.0.1:PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import subprocess  # nosec B404 # starts this same interpreter
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web

from cogumi.errors import StorageError
from cogumi.teachers.server.app import Behaviour, Provider


def write_port(port: int) -> None:
    """{"port": N} as a line on stdout, for the process that has started this one."""
    sys.stdout.write(orjson.dumps({"port": port}).decode() + "\n")
    sys.stdout.flush()


async def serve(
    behaviour: Behaviour, port: int, until: asyncio.Event, listening: Callable[[int], None] = write_port
) -> None:
    """Listen on 127.0.0.1 until told to stop; `listening` is called with the port once it is open."""
    runner = web.AppRunner(Provider(behaviour).application(), access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=2048, shutdown_timeout=0.5)
    await site.start()
    bound = runner.addresses[0][1]
    listening(bound)
    await until.wait()
    await runner.cleanup()


class LoopbackProcess:
    """The provider as a child process. It ends when its standard input closes, so it never outlives the parent."""

    def __init__(self, behaviour: Behaviour, port: int = 0) -> None:
        self._behaviour = behaviour
        self._port = port
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> LoopbackProcess:
        """Start the child and wait until it listens. Raises StorageError disk-error if it does not."""
        plain = {**dataclasses.asdict(self._behaviour), "port": self._port}
        command = [
            sys.executable,
            "-m",
            "cogumi.teachers.server.serve",
            orjson.dumps(plain, default=str).decode(),
        ]
        self._child = subprocess.Popen(  # nosec B603 # fixed command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a signal to the run's process group does not reach a real provider either
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise StorageError("disk-error", f"the loopback provider did not start (exit {self._child.wait()})")
        self.port = orjson.loads(line)["port"]
        return self

    def stop(self) -> None:
        """End the child. Idempotent."""
        if self._child is not None:
            assert self._child.stdin is not None and self._child.stdout is not None
            self._child.stdin.close()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child.stdout.close()
            self._child = None

    def look(self, page: str) -> Any:
        """GET /bill or /arrivals as data."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", page)
            return orjson.loads(connection.getresponse().read())
        finally:
            connection.close()

    def __enter__(self) -> LoopbackProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def _serve_until_stdin_closes(behaviour: Behaviour, port: int) -> None:
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def wait_for_close() -> None:
        await reader.read()
        until.set()

    waiting = asyncio.create_task(wait_for_close())
    await serve(behaviour, port, until)
    await waiting


def _main(argument: str) -> None:
    plain = orjson.loads(argument)
    port = plain.pop("port")
    if plain["bill"]:
        plain["bill"] = Path(plain["bill"])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_until_stdin_closes(Behaviour(**plain), port))


if __name__ == "__main__":
    _main(sys.argv[1])
