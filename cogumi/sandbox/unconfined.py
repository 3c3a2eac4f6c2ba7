"""No sandbox: a process of this user with limits alone, for programs that one trusts, and never as root.

Limits are no containment: such a program reads and writes whatever the user may.
"""

from __future__ import annotations

import os
import sys

from cogumi.sandbox.program import bootstrap
from cogumi.sandbox.running import SandboxResult, run_command


class Unconfined:
    """Only by `open_sandbox("none", trusted=True)`."""

    name = "none"

    def run(self, program: str, timeout_s: float) -> SandboxResult:
        """Raises nothing of its own; the program may do anything that this user may."""
        return run_command([sys.executable, "-I", "-S", "-c", bootstrap(timeout_s)], program, timeout_s)

    def problem(self) -> str:
        """Root's programs are never run."""
        return "the user is root" if os.geteuid() == 0 else ""
