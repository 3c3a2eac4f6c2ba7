"""Every write, fsync and rename of a run killed or failed in turn (strace injection), and a disk that is really full."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess
from tests.skipped import miss
from tests.torture.driving import CELLS, LONG, SMALL, command, finish, pointed_at
from tests.torture.oracle import check_money, check_nothing_torn, check_published

pytestmark = pytest.mark.torture
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename")
Start = Callable[..., LoopbackProcess]


def traced(strace: str, inject: str, arguments: list[str], cwd: Path, log: Path) -> subprocess.CompletedProcess[str]:
    """The command with one fault. A filter in the kernel (seccomp) makes it fast, but no signal is injected with it."""
    call = inject.split(":")[0]
    fast = [] if ":signal=" in inject else ["--seccomp-bpf"]
    trace = [strace, "-f", *fast, "-qq", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={inject}", *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(trace, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment)


def count_calls(strace: str, call: str, arguments: list[str], cwd: Path, log: Path) -> int:
    """How often a thread of an undisturbed run makes this call, at most: `when` of an injection counts by thread."""
    done = traced(strace, f"{call}:delay_exit=0", arguments, cwd, log)
    assert done.returncode == 0, done.stderr[-1500:]
    by_thread = Counter(re.findall(rf"^(\d+) +{call}\(", log.read_text(), re.MULTILINE))
    return max(by_thread.values(), default=0)


@pytest.fixture(scope="module")
def calls(strace: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], int]:
    """How often the run makes a call; each is counted once."""

    @cache
    def counted(call: str) -> int:
        folder = tmp_path_factory.mktemp(call)
        with LoopbackProcess(Behaviour(latency_s=0.005)) as provider:
            arguments = command("count", *SMALL, *pointed_at(provider.url))
            return count_calls(strace, call, arguments, folder, folder / "count.log")

    return counted


def points(total: int) -> list[int]:
    """Which of the calls to hit: all of them in the long form, one in the middle and the last in the short one."""
    return list(range(1, total + 1)) if LONG else sorted({max(1, total // 2), total})


def hurt_and_finish(
    strace: str, loopback: Start, tmp_path: Path, name: str, inject: str
) -> subprocess.CompletedProcess[str]:
    """One run with one injected fault, against a provider of its own; then the same run undisturbed. Checks both."""
    provider = loopback(bill=tmp_path / f"{name}.tsv", fault_share=0.02, latency_s=0.005)
    arguments = command(name, *SMALL, *pointed_at(provider.url))
    done = traced(strace, inject, arguments, tmp_path, tmp_path / f"{name}.log")
    folder, bill = tmp_path / "runs" / name, tmp_path / f"{name}.tsv"
    if (folder / "ledger.db").exists() and bill.read_text():
        check_money(folder, bill)
    check_nothing_torn(folder)
    finish(arguments, tmp_path)
    check_published(folder, CELLS)
    check_money(folder, bill)
    provider.stop()
    return done


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_this_call(
    call: str, strace: str, calls: Callable[[str], int], loopback: Start, tmp_path: Path
) -> None:
    total = calls(call)
    assert total > 0
    killed = 0
    for number in points(total):
        done = hurt_and_finish(strace, loopback, tmp_path, f"{call}-{number}", f"{call}:signal=KILL:when={number}")
        killed += done.returncode == -signal.SIGKILL
    assert killed > 0, "a test that kills nobody proves nothing"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("write", "ENOSPC"),
        ("pwrite64", "ENOSPC"),
        ("pwrite64", "EIO"),
        ("fsync", "EIO"),
        ("fsync", "ENOSPC"),
        ("fdatasync", "EIO"),
        ("rename", "ENOSPC"),
    ],
)
def test_refused_at_this_call(
    call: str, error: str, strace: str, calls: Callable[[str], int], loopback: Start, tmp_path: Path
) -> None:
    """A disk that refuses from one call on ends the run with a code, or is got over; it never tears what is published."""
    total = calls(call)
    failed = 0
    for number in points(total):
        done = hurt_and_finish(
            strace, loopback, tmp_path, f"{call}-{error}-{number}", f"{call}:error={error}:when={number}+"
        )
        if done.returncode != 0:
            failed += 1
            said = done.stdout + done.stderr
            assert "Traceback" not in said, said[-1500:]
            if call != "write":  # where every write is refused, nothing can be said either
                assert done.returncode == 3 and re.search(r"disk-full|disk-error|database-", said), (
                    done.returncode,
                    said[-800:],
                )
    assert failed > 0


def test_a_disk_that_is_really_full(loopback: Start, tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        miss("unshare")
    provider = loopback(latency_s=0.005)
    place = tmp_path / "small"
    place.mkdir()
    run = " ".join(f"'{word}'" for word in command("full", *pointed_at(provider.url)))
    script = f"""
mount -t tmpfs -o size=700k none '{place}' && cd '{place}' || exit 90
{run} > '{tmp_path}/first.out' 2>&1; echo $? > '{tmp_path}/first.rc'
ls -la runs/full > '{tmp_path}/first.ls'
mount -o remount,size=64m '{place}' || exit 91
{run} > '{tmp_path}/second.out' 2>&1; echo $? > '{tmp_path}/second.rc'
cp -r runs '{tmp_path}/kept'
"""
    done = subprocess.run(["unshare", "-rm", "bash", "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "first.out").read_text()
    assert (tmp_path / "first.rc").read_text().strip() == "3", first
    assert "disk-full" in first and "Traceback" not in first
    assert (tmp_path / "second.rc").read_text().strip() == "0", (tmp_path / "second.out").read_text()
    folder = tmp_path / "kept" / "full"
    check_money(folder, tmp_path / "bill-0.tsv")
    check_nothing_torn(folder)
    assert (folder / "dataset" / "receipt.json").is_file()
    assert sys.platform == "linux"
