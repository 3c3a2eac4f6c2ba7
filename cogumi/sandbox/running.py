"""Run a command that holds a program in bounds, feed it, and read what it says up to a mebibyte."""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import subprocess  # nosec B404 # the sandboxes' own commands
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Protocol

from cogumi.sandbox.program import HEADER, proof

MOST_OUTPUT_BYTES = 1 << 20
_ERROR_BYTES = 1 << 16
_PROVING = threading.Lock()
"""One at a time: the variable that a program must not see is this process's own."""


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """How a program ended. `ok`: it came to its end and left with exit code 0, within its limits. Leaving earlier by
    an exit of its own is not the end.
    """

    ok: bool
    output: str
    error: str
    timed_out: bool


class Sandbox(Protocol):
    """A way to run programs."""

    name: str

    def run(self, program: str, timeout_s: float) -> SandboxResult:
        """Run a program with the standard library only."""

    def problem(self) -> str:
        """Why nothing can be run in it here, or "" where it holds."""


def run_command(
    command: Sequence[str],
    program: str,
    timeout_s: float,
    pass_fds: Sequence[int] = (),
    environment: dict[str, str] | None = None,
    end: Callable[[], None] = lambda: None,
) -> SandboxResult:
    """`command` starts the bootstrap of `program`. `end` is called once it must not go on."""
    nonce, source = secrets.token_hex(16).encode(), program.encode("utf-8", "surrogatepass")
    child = subprocess.Popen(  # nosec B603 # fixed command
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=tuple(pass_fds),
        env=environment or {}, start_new_session=True,
    )  # fmt: skip
    assert child.stdin and child.stdout and child.stderr, "all three are pipes"
    try:
        given = str(len(source)).rjust(HEADER).encode() + source + nonce
        out, err, timed_out = _talk(child.stdin, child.stdout, child.stderr, given, time.monotonic() + timeout_s)
        if not timed_out and len(out) <= MOST_OUTPUT_BYTES:
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                timed_out = True
    finally:
        child.kill()  # a namespace's first process dies with its command, and everything in it
        end()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            with closing(pipe):
                pass
    said, finished = _without(out, nonce)
    ok = finished and child.returncode == 0 and not timed_out
    return SandboxResult(ok, _text(said[:MOST_OUTPUT_BYTES]), _text(err[:MOST_OUTPUT_BYTES]), timed_out)


def proves_itself(sandbox: Sandbox, file: str) -> str:
    """Run the proof in it, with a port that is listened at; "" where everything was refused, else what was not."""
    with _PROVING, socket.create_server(("127.0.0.1", 0)) as listening:
        os.environ["COGUMI_SANDBOX_CANARY"] = "1"
        try:
            result = sandbox.run(proof(file, listening.getsockname()[1]), 20.0)
        finally:
            del os.environ["COGUMI_SANDBOX_CANARY"]
    if result.ok and result.output.strip() == "contained 42":
        return ""
    return (result.output.strip() or result.error.strip() or "no output")[-300:]


def _talk(
    into: IO[bytes], out: IO[bytes], err: IO[bytes], given: bytes, until: float
) -> tuple[bytearray, bytearray, bool]:
    """Write what is given, read both outputs until they end, are too long, or time is up."""
    read = {out: bytearray(), err: bytearray()}
    most = {out: MOST_OUTPUT_BYTES + 64, err: _ERROR_BYTES}
    os.set_blocking(into.fileno(), False)
    with selectors.DefaultSelector() as ready:
        ready.register(into, selectors.EVENT_WRITE)
        for pipe in read:
            ready.register(pipe, selectors.EVENT_READ)
        while any(pipe in read for pipe in (key.fileobj for key in ready.get_map().values())):
            left = until - time.monotonic()
            events = ready.select(left) if left > 0 else []
            if not events:
                return read[out], read[err], True
            for key, _ in events:
                if key.fileobj is into:
                    given = _written(into, given)
                    if not given:
                        ready.unregister(into)
                        into.close()
                    continue
                pipe = out if key.fileobj is out else err
                part = os.read(pipe.fileno(), 1 << 16)
                if not part:
                    ready.unregister(pipe)
                elif len(read[pipe]) < most[pipe]:
                    read[pipe] += part
                elif pipe is out:
                    return read[out], read[err], False
    return read[out], read[err], False


def _written(into: IO[bytes], given: bytes) -> bytes:
    """What is left to be written; nothing where nobody reads it any more."""
    try:
        return given[os.write(into.fileno(), given[: 1 << 16]) :]
    except BlockingIOError:
        return given
    except BrokenPipeError:
        return b""


def _without(out: bytearray, nonce: bytes) -> tuple[bytes, bool]:
    """The output without the line of the nonce, and whether it ended with it."""
    end = b"\n" + nonce + b"\n"
    return (bytes(out[: -len(end)]), True) if out.endswith(end) else (bytes(out), False)


def _text(raw: bytes | bytearray) -> str:
    return bytes(raw).decode("utf-8", "replace")
