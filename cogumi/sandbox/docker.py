"""Docker: a container of its own for each program, without network, capabilities, a writable system or processes.

The image is one with `python3`, which must be there already: nothing is pulled. COGUMI_SANDBOX_IMAGE names another.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess  # nosec B404 # docker only, fixed arguments
from functools import lru_cache

from cogumi.sandbox.program import MEMORY_BYTES, bootstrap
from cogumi.sandbox.running import SandboxResult, proves_itself, run_command

IMAGE = "python:3.11-slim"
_STARTS_S = 10.0
"""A container takes so long to start at most; the program's own time comes on top."""
_PASSED_ON = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")
"""What the client needs to find its daemon; the container gets none of it."""


class Docker:
    """Needs a daemon, and this user's right to ask it."""

    name = "docker"

    def run(self, program: str, timeout_s: float) -> SandboxResult:
        """The image's Python with its standard library."""
        container = f"cogumi-{secrets.token_hex(8)}"
        command = [
            *_docker(), "run", "--rm", "--interactive", "--name", container, "--pull", "never", "--network", "none",
            "--read-only", "--tmpfs", "/tmp:rw,noexec,nosuid,nodev,size=16m,mode=1777", "--workdir", "/tmp", "--user",
            "65534:65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "64", "--memory",
            str(MEMORY_BYTES), "--memory-swap", str(MEMORY_BYTES), "--log-driver", "none", "--ipc", "none",
            "--hostname", "sandbox", "--entrypoint", "python3", image(), "-I", "-S", "-c", bootstrap(timeout_s),
        ]  # fmt: skip # nosec B108 # inside the container
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return run_command(
            command,
            program,
            timeout_s + _STARTS_S,
            environment=environment,
            end=lambda: _removed(container, environment),
        )

    def problem(self) -> str:
        """It proves itself once a process and image."""
        return _problem(image())


def image() -> str:
    return os.environ.get("COGUMI_SANDBOX_IMAGE") or IMAGE


@lru_cache(maxsize=4)
def _problem(image: str) -> str:
    if shutil.which("docker") is None:
        return "docker is not installed"
    return proves_itself(Docker(), __file__)


def _removed(container: str, environment: dict[str, str]) -> None:
    """The client's end does not end its container."""
    subprocess.run(  # nosec B603 # fixed command
        [*_docker(), "rm", "--force", container], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=False, timeout=60,
    )  # fmt: skip


def _docker() -> list[str]:
    return [shutil.which("docker") or "docker"]
