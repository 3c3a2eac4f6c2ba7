"""Generated code runs in bubblewrap or not at all."""

from cogumi.sandbox.bubblewrap import SandboxResult, run_python, sandbox_problem

__all__ = ["SandboxResult", "run_python", "sandbox_problem"]
