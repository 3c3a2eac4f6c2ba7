"""Bubblewrap: own namespaces, read-only system, no network, no processes, hard limits. The default."""

from __future__ import annotations

import shutil
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from cogumi.sandbox.program import bootstrap
from cogumi.sandbox.running import SandboxResult, proves_itself, run_command
from cogumi.sandbox.seccomp import filter_program

_TMP_BYTES = 16 << 20


class Bubblewrap:
    """Linux, x86_64 or aarch64, as root or not; see docs/how-to/run-generated-code.md."""

    name = "bubblewrap"

    def run(self, program: str, timeout_s: float) -> SandboxResult:
        """The base interpreter with the standard library; the virtual environment is not there."""
        seccomp = filter_program()
        assert seccomp is not None, "checked by problem"
        with tempfile.TemporaryFile() as rules:
            rules.write(seccomp)
            rules.seek(0)
            python = [str(Path(sys.executable).resolve()), "-I", "-S", "-c", bootstrap(timeout_s)]
            command = [*_bwrap(), "--seccomp", str(rules.fileno()), "--", *python]
            return run_command(command, program, timeout_s, pass_fds=(rules.fileno(),))

    def problem(self) -> str:
        """It proves itself once a process."""
        return _problem()


@lru_cache(maxsize=1)
def _problem() -> str:
    if shutil.which("bwrap") is None:
        return "bwrap is not installed"
    if filter_program() is None:
        return "no seccomp filter for this architecture"
    return proves_itself(Bubblewrap(), __file__)


@lru_cache(maxsize=1)
def _bwrap() -> list[str]:
    """The namespaces and the few read-only folders a Python needs."""
    arguments = [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv", "--hostname",
        "sandbox",
    ]  # fmt: skip
    for folder in _python_folders():
        arguments += ["--ro-bind", folder, folder]
    for name in ("lib", "lib64", "bin"):
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return [
        *arguments, "--size", str(_TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp", "--uid", "65534", "--gid", "65534",
    ]  # fmt: skip # nosec B108 # inside the sandbox


def _python_folders() -> list[str]:
    """/usr and the base interpreter's own folder.

    The virtual environment is left out, and with it every installed package.
    """
    return ["/usr"] if sys.base_prefix.startswith("/usr") else ["/usr", sys.base_prefix]
