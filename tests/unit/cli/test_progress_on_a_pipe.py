"""The whole of the tiny recipe with stderr on a pipe: a line at least every 10 s, from every stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

_PROMISED_S = 10.0
STAGES = {"dataset": "dataset", "base": "base", "train": "adapter", "draft": "draft", "validate": "validation"}


@pytest.mark.alone
@pytest.mark.parametrize("how", [["--no-prefect"], pytest.param([], marks=pytest.mark.flows)], ids=["here", "prefect"])
def test_no_more_than_ten_seconds_pass_without_a_line(how: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cogumi.cli.main", "run", "all", "--recipe", "tiny", *how]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    at, said = [time.monotonic()], [""]
    with (tmp_path / "out.txt").open("wb") as out:
        work = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.PIPE, text=True)
        assert work.stderr is not None
        for line in work.stderr:
            at.append(time.monotonic())
            said.append(line.rstrip())
        assert work.wait() == 0, said
    at.append(time.monotonic())
    gaps = [later - earlier for earlier, later in pairwise(at)]
    longest = max(range(len(gaps)), key=gaps.__getitem__)
    assert gaps[longest] <= _PROMISED_S, (sorted(gaps)[-5:], said[longest])
    told = {line.removeprefix("still: ").partition(":")[0] for line in said}
    took = {stage: _seconds(tmp_path / "runs/tiny" / folder) for stage, folder in STAGES.items()}
    assert {stage for stage, seconds in took.items() if seconds > _PROMISED_S} <= told, took
    assert len(told & took.keys()) >= 2, "on any machine some stages take longer than the time between two lines"
    results = (tmp_path / "out.txt").read_text()
    assert results.count("done ") >= 4 and "still:" not in results and "steps," not in results.partition("done ")[0]


def _seconds(folder: Path) -> float:
    receipt = json.loads((folder / "receipt.json").read_text())
    return float(receipt["metrics"]["seconds"])
