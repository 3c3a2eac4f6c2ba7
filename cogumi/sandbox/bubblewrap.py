"""Run a Python program nobody trusts: own namespaces, read-only system, no network, no processes, hard limits.

    result = await run_python("print(6 * 7)")     # SandboxResult(ok=True, output="42\n", ...)

The sandbox proves itself once a process (`sandbox_problem`): a program must fail to read, write, connect, fork
and look at the environment before any generated code may run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess  # nosec B404 # bubblewrap only, fixed arguments
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cogumi.errors import RunError
from cogumi.sandbox.seccomp import filter_program

MOST_OUTPUT_BYTES = 1 << 20
_MEMORY_BYTES = 512 << 20
_LIMITS = (
    "import resource as r, sys; "
    "r.setrlimit(r.RLIMIT_AS, ({memory}, {memory})); r.setrlimit(r.RLIMIT_CPU, ({cpu}, {cpu})); "
    "r.setrlimit(r.RLIMIT_FSIZE, (1 << 20, 1 << 20)); r.setrlimit(r.RLIMIT_CORE, (0, 0)); "
    "r.setrlimit(r.RLIMIT_NOFILE, (32, 32)); "
    "exec(compile(sys.stdin.read(), 'program', 'exec'), {{'__name__': '__main__'}})"
)
_PROOF = """
import os, socket
held = []
def must_fail(name, action):
    try:
        action()
        held.append(name)
    except Exception:
        pass
must_fail("read", lambda: open("/etc/passwd").read())
must_fail("project", lambda: open(PROJECT_FILE).read())
must_fail("write", lambda: open("/usr/x", "w"))
must_fail("socket", lambda: socket.socket())
must_fail("fork", lambda: os.fork() or os._exit(0))
must_fail("memory", lambda: bytearray(1 << 30))
if any("CANARY" in name for name in os.environ):
    held.append("environment")
print("contained" if not held else "leaks: " + " ".join(held), 6 * 7)
"""


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """How a program ended. `ok` means exit code 0 within the limits."""

    ok: bool
    output: str
    error: str
    timed_out: bool


async def run_python(program: str, timeout_s: float = 5.0) -> SandboxResult:
    """Run a program with the standard library only. Raises RunError sandbox-missing where it cannot be contained."""
    problem = sandbox_problem()
    if problem:
        raise RunError("sandbox-missing", problem)
    return await asyncio.to_thread(_run, program, timeout_s)


@lru_cache(maxsize=1)
def sandbox_problem() -> str:
    """Why generated code cannot run here, or "" where the sandbox holds."""
    if shutil.which("bwrap") is None:
        return "bwrap is not installed"
    if filter_program() is None:
        return "no seccomp filter for this architecture"
    os.environ["COGUMI_SANDBOX_CANARY"] = "1"
    try:
        result = _run(f"PROJECT_FILE = {__file__!r}\n{_PROOF}", 20.0)
    finally:
        del os.environ["COGUMI_SANDBOX_CANARY"]
    if result.output.strip() == "contained 42":
        return ""
    return (result.output.strip() or result.error.strip() or "no output")[:300]


def _run(program: str, timeout_s: float) -> SandboxResult:
    seccomp = filter_program()
    assert seccomp is not None, "checked by sandbox_problem"
    with tempfile.TemporaryFile() as rules, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        rules.write(seccomp)
        rules.seek(0)
        command = [
            *_bwrap(),
            "--seccomp",
            str(rules.fileno()),
            "--",
            str(Path(sys.executable).resolve()),
            "-I",
            "-S",
            "-c",
            _limits(timeout_s),
        ]
        child = subprocess.Popen(  # nosec B603 # fixed command
            command, stdin=subprocess.PIPE, stdout=out, stderr=err, pass_fds=(rules.fileno(),), env={}
        )
        timed_out = False
        try:
            child.communicate(program.encode("utf-8", "surrogatepass"), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            child.kill()  # the namespace's first process dies with bwrap, and everything in it
            child.wait()
        return SandboxResult(child.returncode == 0 and not timed_out, _start_of(out), _start_of(err), timed_out)


def _limits(timeout_s: float) -> str:
    return _LIMITS.format(memory=_MEMORY_BYTES, cpu=int(timeout_s) + 1)


def _start_of(file: object) -> str:
    assert hasattr(file, "seek") and hasattr(file, "read")
    file.seek(0)
    return bytes(file.read(MOST_OUTPUT_BYTES)).decode("utf-8", "replace")


@lru_cache(maxsize=1)
def _bwrap() -> list[str]:
    """The namespaces and the few read-only folders a Python needs."""
    arguments = [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--clearenv",
        "--hostname",
        "sandbox",
    ]
    for folder in _python_folders():
        arguments += ["--ro-bind", folder, folder]
    for name in ("lib", "lib64", "bin"):
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return [
        *arguments,
        "--size",
        str(16 << 20),
        "--tmpfs",
        "/tmp",
        "--chdir",
        "/tmp",
        "--uid",
        "65534",
        "--gid",
        "65534",
    ]  # nosec B108 # inside the sandbox


def _python_folders() -> list[str]:
    """/usr and the base interpreter's own folder.

    The virtual environment is left out, and with it every installed package.
    """
    return ["/usr"] if sys.base_prefix.startswith("/usr") else ["/usr", sys.base_prefix]
