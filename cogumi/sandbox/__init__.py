"""Generated code runs in a sandbox or not at all.

    result = await run_python("print(6 * 7)")             # SandboxResult(ok=True, output="42\\n", ...), by bubblewrap
    sandbox = open_sandbox("docker")
    result = sandbox.run("print(6 * 7)", timeout_s=5)

A sandbox proves itself before it is used: a program must fail to read, write, connect, fork, take too much memory and
look at the environment.
"""

from __future__ import annotations

import asyncio

from cogumi.errors import InputError, RunError
from cogumi.sandbox.bubblewrap import Bubblewrap
from cogumi.sandbox.docker import Docker
from cogumi.sandbox.running import MOST_OUTPUT_BYTES, Sandbox, SandboxResult
from cogumi.sandbox.unconfined import Unconfined

__all__ = [
    "MOST_OUTPUT_BYTES",
    "Sandbox",
    "SandboxResult",
    "open_sandbox",
    "run_python",
    "sandbox_problem",
]
_KINDS: dict[str, type[Sandbox]] = {kind.name: kind for kind in (Bubblewrap, Docker, Unconfined)}


def open_sandbox(name: str = "bubblewrap", trusted: bool = False) -> Sandbox:
    """A sandbox that holds. `none` is for programs that one trusts, and must be said twice.

    Raises InputError sandbox-unknown, code-not-trusted; RunError sandbox-missing where it does not hold.
    """
    if name not in _KINDS:
        raise InputError("sandbox-unknown", f"{name!r}; there are {', '.join(_KINDS)}")
    if name == "none" and not trusted:
        raise InputError("code-not-trusted", "sandbox none")
    sandbox = _KINDS[name]()
    problem = sandbox.problem()
    if problem:
        raise RunError("sandbox-missing", f"{name}: {problem}")
    return sandbox


async def run_python(program: str, timeout_s: float = 5.0) -> SandboxResult:
    """Run a program in bubblewrap. Raises RunError sandbox-missing where it cannot be contained."""
    return await asyncio.to_thread(open_sandbox().run, program, timeout_s)


def sandbox_problem() -> str:
    """Why bubblewrap cannot run generated code here, or "" where it holds."""
    return Bubblewrap().problem()
