"""infra/fresh_root.sh: what it refuses, what its command sees, and that nothing of it is left when it is killed.

The base is made here of bash and three programs, where the script would let debootstrap make one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.skipped import miss

SCRIPT = Path(__file__).resolve().parents[3] / "infra" / "fresh_root.sh"
PROGRAMS = ("bash", "env", "cat", "sleep")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the base of a release named `tiny`."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"]).returncode:
        miss("root with CAP_SYS_ADMIN")
    base = tmp_path / "base-tiny"
    for name in ("proc", "sys", "dev", "usr/bin"):
        (base / name).mkdir(parents=True)
    for program in PROGRAMS:
        found = Path(str(shutil.which(program)))
        shutil.copy(found, base / "usr" / "bin" / program)
        listed = subprocess.run(["ldd", str(found)], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            (base / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, base / library[1:])
    (base / "bin").symlink_to("usr/bin")
    (base / ".done").touch()
    return tmp_path


def start(place: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(SCRIPT), str(place), *command], env={**os.environ, "SUITE": "tiny", **variables},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def mounted(place: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(place) in line]


def test_a_command_sees_the_clone_an_empty_home_and_none_of_our_variables(place: Path) -> None:
    show = "echo $PWD $HOME ${COGUMI_CANARY-unset}; cat Makefile; echo > new; exit 7"
    done = start(place, "bash", "-c", show, COGUMI_CANARY="seen", OFFLINE="")
    out, err = done.communicate(timeout=120)
    assert done.returncode == 7, err
    assert out.startswith("/project /root/new-home unset\n") and "demo:" in out
    kept = start(place, "cat", "new", KEEP="1")
    assert kept.communicate(timeout=120)[1] == "" and kept.returncode == 0, "KEEP=1 goes on in the same root"
    anew = start(place, "cat", "new")
    assert "No such file" in anew.communicate(timeout=120)[1] and anew.returncode == 1, "a new root has only the clone"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_ended_by_a_signal_it_leaves_no_process_and_no_mount(end: signal.Signals, place: Path) -> None:
    mark = f"{4_000_000 + os.getpid()}"
    child = start(place, "bash", "-c", f"sleep {mark} & echo on > /project/on; sleep {mark}")
    until((place / "root-tiny" / "project" / "on").exists, "the command starts")
    assert running(mark) and mounted(place) == [], "mounts are seen inside only"
    refused = start(place, "true")
    assert "another run uses" in refused.communicate(timeout=60)[1] and refused.returncode == 2
    child.send_signal(end)
    child.wait(60)
    until(lambda: not running(mark), "all that it started ends")
    shutil.rmtree(place / "root-tiny")


def running(mark: str) -> list[str]:
    """The processes whose arguments have this number."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sleep") and mark.encode() in words:
            found.append(entry.parent.name)
    return found


def test_it_refuses_who_is_not_root(tmp_path: Path) -> None:
    drop = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, "bash", "-s", "--", str(tmp_path), "true"], input=SCRIPT.read_text(), capture_output=True, text=True
    )
    assert done.returncode == 2 and "run it with sudo" in done.stderr and list(tmp_path.iterdir()) == []


def test_it_names_what_is_missing(place: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("bash", "id", "mkdir", "flock"):
        (bare / program).symlink_to(str(shutil.which(program)))
    missing = start(place, "true", SUITE="other", PATH=str(bare))
    assert "apt-get install debootstrap" in missing.communicate(timeout=60)[1] and missing.returncode == 2
    usage = start(place)
    assert "usage" in usage.communicate(timeout=60)[1] and usage.returncode == 2
