"""What runs inside a sandbox before and after the program: limits first, at the end the line that says it got there.

The line holds a nonce that the bootstrap reads from a pipe once the program has come to its end, so that a program that
leaves early, by whatever exit and with whatever output, has not finished. It contains no defence against a program that
looks for the pipe: a sandbox protects the machine, and tests of a program in its own process trust it that far.
"""

from __future__ import annotations

MEMORY_BYTES = 512 << 20
_FILE_BYTES = 1 << 20
_FILES = 32
HEADER = 16
"""Bytes of the program's length, before the program itself; the nonce comes behind it."""
_BOOTSTRAP = """
import os, resource as r, sys
for limit, most in ((r.RLIMIT_AS, {memory}), (r.RLIMIT_CPU, {cpu}), (r.RLIMIT_FSIZE, {file}), (r.RLIMIT_CORE, 0),
                    (r.RLIMIT_NOFILE, {files}), (r.RLIMIT_NPROC, 1)):
    r.setrlimit(limit, (most, most))
def _read(handle, count):
    parts = []
    while count:
        part = os.read(handle, count)
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
program = _read(0, int(_read(0, {header})))
nonce, empty, other = os.dup(0), *os.pipe()
os.close(other)
os.dup2(empty, 0)
os.close(empty)
exec(compile(program, "program", "exec"), {{"__name__": "__main__"}})
sys.stdout.flush()
os.write(1, b"\\n" + _read(nonce, 32) + b"\\n")
"""
_PROOF = """
import os, socket
held = []
def must_fail(name, action):
    try:
        action()
        held.append(name)
    except Exception:
        pass
must_fail("read", lambda: open({file!r}).read())
must_fail("write", lambda: open("/usr/x", "w"))
must_fail("network", lambda: socket.create_connection(("127.0.0.1", {port}), 1))
must_fail("fork", lambda: os.fork() or os._exit(0))
must_fail("memory", lambda: bytearray(1 << 30))
if any("CANARY" in name for name in os.environ):
    held.append("environment")
print("contained" if not held else "leaks: " + " ".join(held), 6 * 7)
"""


def bootstrap(timeout_s: float) -> str:
    """For `python -c`: it reads length, program and nonce from its standard input."""
    return _BOOTSTRAP.format(memory=MEMORY_BYTES, cpu=int(timeout_s) + 1, file=_FILE_BYTES, files=_FILES, header=HEADER)


def proof(file: str, port: int) -> str:
    """A program that prints `contained 42` where it can neither read a file of the host, reach one of its ports, write,
    fork, take a gibibyte, nor see the environment.
    """
    return _PROOF.format(file=file, port=port)
