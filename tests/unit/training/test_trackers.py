"""Trackers, each by its own package and read back by it, on this machine alone."""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cogumi.errors import InputError
from cogumi.training import trackers
from cogumi.training.trackers import KINDS, check_trackers, open_trackers
from tests.skipped import miss

ALL = list(KINDS)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No account, no server."""
    for name in ("WANDB_API_KEY", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ALL:
        if importlib.util.find_spec(KINDS[name][0]) is None:
            miss("extra track")


def logged(name: str, place: Path) -> None:
    with open_trackers([name], "a-run", place, {"preset": "anil"}) as on:
        for step in (1, 2, 3):
            on.log({"meta/loss": 3.0 - step}, step)
    assert on.failed == {}


def test_tensorboard(tmp_path: Path) -> None:
    logged("tensorboard", tmp_path)
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    events = reader(str(tmp_path / "tensorboard" / "a-run"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("meta/loss")] == [(1, 2.0), (2, 1.0), (3, 0.0)]


def test_mlflow(tmp_path: Path) -> None:
    logged("mlflow", tmp_path)
    client = importlib.import_module("mlflow").MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("cogumi").experiment_id])
    assert run.info.run_name == "a-run" and run.info.status == "FINISHED" and run.data.params == {"preset": "anil"}
    found = client.get_metric_history(run.info.run_id, "meta/loss")
    assert [(m.step, m.value) for m in found] == [(1, 2.0), (2, 1.0), (3, 0.0)] and (tmp_path / "mlflow.db").exists()


def test_wandb(tmp_path: Path) -> None:
    logged("wandb", tmp_path)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    missing, end = {b"2", b"1", b"0"}, time.monotonic() + 120
    while missing:  # a process of its own writes them, and finish() returns before it has
        written = file.read_bytes()
        missing = {v for v in missing if not re.search(rb"meta/loss[^\n]{0,12}\x01?" + v, written, re.DOTALL)}
        assert not missing or time.monotonic() < end, (missing, written)
        time.sleep(0.1)


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is fixed when it is imported, so a process of its own."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from tests.unit.training.test_trackers import logged;"
        "logged('trackio', Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, cwd=root
    )
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr
    import sqlite3

    (file,) = (tmp_path / "trackio").glob("cogumi*.db")
    rows = (
        sqlite3.connect(file)
        .execute("select step, metrics from metrics where run_name = 'a-run' order by step")
        .fetchall()
    )
    found = [(step, json.loads(told).get("meta/loss")) for step, told in rows]
    assert [pair for pair in found if pair[1] is not None] == [(1, 2.0), (2, 1.0), (3, 0.0)]


class Broken:
    """Works twice."""

    def __init__(self, run: str, place: Path, config: Mapping[str, Any]) -> None:
        self.times = 0

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.times += 1
        if self.times > 2:
            raise ConnectionError("the network is away")

    def close(self) -> None:
        raise AssertionError("closed after it had failed")


def test_one_that_fails_is_left_out_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.KINDS, "wandb", ("wandb", Broken))
    with open_trackers(["wandb", "tensorboard"], "a-run", tmp_path, {}) as on:
        for step in range(1, 6):
            on.log({"meta/loss": 1.0}, step)
    assert on.failed == {"wandb": "ConnectionError: the network is away"}
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    events = reader(str(tmp_path / "tensorboard" / "a-run"))
    events.Reload()
    assert len(events.Scalars("meta/loss")) == 5


def test_one_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"extra-missing.*wandb.*cogumi\[track\]"):
        check_trackers(["tensorboard", "wandb"])
    check_trackers([])
