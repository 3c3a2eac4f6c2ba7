"""A Docker daemon of the tests' own, and an image made of this system's Python: nothing is pulled, nobody else's daemon
is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PYTHON = Path("/usr/bin/python3")
IMAGE = "cogumi-sandbox-test"


def missing() -> str:
    """What a daemon of one's own needs and is not there."""
    lacks = [name for name in ("docker", "dockerd", "containerd", "runc") if shutil.which(name) is None]
    if os.geteuid() != 0:
        lacks.append("root")
    return ", ".join(lacks) or ("" if _PYTHON.exists() else str(_PYTHON))


@contextmanager
def docker_daemon(place: Path) -> Iterator[dict[str, str]]:
    """The environment that finds it and the image."""
    host = f"unix://{place / 's'}"
    command = [
        "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs", "--data-root",
        str(place / "data"), "--exec-root", str(place / "exec"), "--pidfile", str(place / "pid"), "--host", host,
    ]  # fmt: skip
    environment = {"DOCKER_HOST": host, "COGUMI_SANDBOX_IMAGE": IMAGE}
    with (place / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _until_it_answers(daemon, environment, place / "log")
        _import_image(place / "image.tar", environment)
        yield environment
    finally:
        daemon.terminate()
        daemon.wait(60)
        shutil.rmtree(place / "data", ignore_errors=True)


def _until_it_answers(daemon: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    until = time.monotonic() + 120
    while subprocess.run(["docker", "version"], env={**os.environ, **environment}, capture_output=True).returncode:
        assert daemon.poll() is None and time.monotonic() < until, log.read_text()[-2000:]
        time.sleep(0.2)


def _import_image(archive: Path, environment: dict[str, str]) -> None:
    python = _PYTHON.resolve()
    library = Path("/usr/lib") / python.name
    files = {"/usr/bin/python3": python, "/usr/bin/perl": Path("/usr/bin/perl")}
    for file in sorted(library.rglob("*")):
        if file.is_file() and not {"dist-packages", "__pycache__", "test"} & set(file.parts):
            files[str(file)] = file
    for file in [*files.values()]:
        if file.suffix == ".so" or file.parent == Path("/usr/bin"):
            files |= {name: Path(name) for name in _libraries(file)}
    with tarfile.open(archive, "w", dereference=True) as tar:
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents} | {"/tmp", "/etc"}):
            made = tarfile.TarInfo(folder.lstrip("/") or ".")
            made.type, made.mode = tarfile.DIRTYPE, 0o755  # a folder that only its files name would be root's alone
            tar.addfile(made)
        for name, file in files.items():
            tar.add(file, name.lstrip("/"), recursive=False)
    subprocess.run(
        ["docker", "import", "--change", "ENV PATH=/usr/bin", str(archive), IMAGE],
        env={**os.environ, **environment}, check=True, capture_output=True,
    )  # fmt: skip
    archive.unlink()


def _libraries(file: Path) -> list[str]:
    told = subprocess.run(["ldd", str(file)], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", told)
