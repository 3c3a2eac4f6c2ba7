"""Meta-training killed at every write, fsync and rename of its checkpoints, and left alone on fifty seeds."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cogumi.training.episodes import EpisodeSampler
from tests.skipped import miss
from tests.torture.driving import LONG
from tests.torture.test_disk import count_calls, traced
from tests.unit.training.test_meta_train import SCHEDULE, TASKS, train

pytestmark = pytest.mark.torture
COMMAND = [sys.executable, "-m", "tests.torture.meta_child"]
ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path) -> str:
    done = subprocess.run([*COMMAND, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("call", ["write", "fsync", "rename"] if LONG else ["fsync"])
def test_killed_at_this_call_it_ends_with_the_same_bits(call: str, expected: str, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        miss("strace")
    assert strace is not None
    total = count_calls(strace, call, [*COMMAND, str(tmp_path / "counted")], ROOT, tmp_path / "count.log")
    assert total >= 4, "a checkpoint at the start and three on the way"
    hit = 0
    for point in range(1, total + 1) if LONG else [total // 2]:
        folder = tmp_path / str(point)
        inject = f"{call}:signal=KILL:when={point}"
        killed = traced(strace, inject, [*COMMAND, str(folder)], ROOT, tmp_path / "trace.log")
        hit += killed.returncode == -signal.SIGKILL
        assert run(folder) == expected, point
        assert not list(folder.glob(".step-*")), "no draft is left"
    assert hit


@pytest.mark.skipif(not LONG, reason="five seeds are among the unit tests; make torture runs fifty")
@pytest.mark.parametrize("seed", range(50))
def test_a_healthy_run_is_left_alone(seed: int, tmp_path: Path) -> None:
    sampler = EpisodeSampler(TASKS, 3, 4, 4, 0.5, seed=seed)
    trained = train(tmp_path, replace(SCHEDULE, steps=60, look_every=6, seed=seed), sampler=sampler)
    assert trained.finished and trained.rewinds == 0 and trained.discarded == 0
