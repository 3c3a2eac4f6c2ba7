"""local_server: a Prefect server on this machine, in a home of its own, with the settings that work offline.

with local_server(Path("prefect-home")) as environment:
    subprocess.run([...], env={**os.environ, **environment})     # PREFECT_API_URL and what belongs to it
"""

from __future__ import annotations

import os
import socket
import subprocess  # nosec B404 # Prefect's own command, fixed arguments
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_START_S = 180.0
_END_S = 20.0


@contextmanager
def local_server(home: Path) -> Iterator[dict[str, str]]:
    """Start a server on a free loopback port; yields, once it answers, the environment its clients need.

    The server keeps its database in `home` and ends with the block. Raises RuntimeError where it does not come up.
    """
    root = f"http://127.0.0.1:{_free_port()}"
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{root}/api",
        "PREFECT_UI_API_URL": f"{root}/api",
        "PREFECT_SERVER_UI_API_URL": f"{root}/api",  # else the dashboard asks port 4200
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # that one calls an outside host
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    host, port = root.removeprefix("http://").split(":")
    command = [str(Path(sys.executable).parent / "prefect"), "server", "start", "--host", host, "--port", port]
    child = subprocess.Popen(  # nosec B603 # fixed command
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(f"{root}/api/health", child)
        yield environment
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and end it where it does not: a Prefect worker may miss the signal while it starts."""
    child.terminate()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(url: str, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and child.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise RuntimeError(f"the Prefect server did not answer at {url} (exit code {child.poll()})")
