"""Processes that outlive their starter: found again by pid and birth, ended with all they started, never mistaken."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cogumi.store.files import write_json
from deployments.processes import Processes, birth_of, children_of, family_of

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable, "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
    "print('deaf', flush=True); time.sleep(600)",
]  # fmt: skip


@pytest.fixture
def processes(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Processes(tmp_path)
    yield made
    made.stop([managed.name for managed in made.all()], 0.2)


def until(what, seconds: float = 10):  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_started_once_and_found_by_another_instance(processes: Processes, tmp_path: Path) -> None:
    first = processes.start("one", SLEEP, {}, tmp_path)
    assert processes.start("one", SLEEP, {}, tmp_path) == first
    assert Processes(tmp_path).find("one") == first
    until(lambda: "here" in Path(first.log).read_text())
    assert processes.stop(["one"], 5) == []
    assert not first.alive and processes.all() == []
    assert processes.stop(["one"], 5) == [], "stopping what is not there is no failure"


def test_it_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deployments.processes import Processes;"
        f"Processes(Path({str(tmp_path)!r})).start('kept', {SLEEP!r}, {{}}, Path('.'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    kept = Processes(tmp_path).find("kept")
    assert kept is not None and kept.alive
    assert Processes(tmp_path).stop(["kept"], 5) == []


def test_a_pid_that_belongs_to_somebody_else_now_is_left_alone(processes: Processes, tmp_path: Path) -> None:
    mine = processes.start("mine", SLEEP, {}, tmp_path)
    write_json(tmp_path / "processes.json", [asdict(replace(mine, name="old", born="1"))])
    assert processes.find("old") is None
    assert processes.stop(["old"], 0.2) == []
    assert mine.alive, "same pid, another birth: not ours to end"
    write_json(tmp_path / "processes.json", [asdict(mine)])


@pytest.mark.alone
def test_what_does_not_end_within_its_grace_is_killed_with_its_children(processes: Processes, tmp_path: Path) -> None:
    deaf = processes.start("deaf", STUBBORN, {}, tmp_path)
    polite = processes.start("polite", SLEEP, {}, tmp_path)
    until(lambda: "deaf" in Path(deaf.log).read_text() and "here" in Path(polite.log).read_text())
    (child,) = children_of(deaf.pid)
    assert family_of(deaf.pid) == [deaf.pid, child]
    assert os.getsid(child) != os.getsid(deaf.pid), "a child in a session of its own, as flow runs are"
    began = time.monotonic()
    assert processes.stop(["deaf", "polite"], 0.5) == ["deaf"]
    assert time.monotonic() - began < 5 and not deaf.alive and not polite.alive
    until(lambda: birth_of(child) == "")


def test_one_that_died_is_started_again(processes: Processes, tmp_path: Path) -> None:
    first = processes.start("one", SLEEP, {}, tmp_path)
    os.kill(first.pid, 9)
    until(lambda: not first.alive)
    second = processes.start("one", SLEEP, {}, tmp_path)
    assert second.pid != first.pid and [managed.name for managed in processes.all()] == ["one"]


def test_no_process_has_no_birth() -> None:
    assert birth_of(2**22 + 7) == ""
    assert birth_of(os.getpid()) != ""
