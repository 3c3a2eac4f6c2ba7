"""Replay: whether a run that is stopped and resumed ends with the same bits as one that is not, tried on the spot.

resumes_exactly(lambda place, watch, stop: meta_train(..., place, watch, stop), steps=2, place=Path("replay"))
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cogumi.training.checkpoint import load_newest
from cogumi.training.meta_train import MetaStep
from cogumi.training.stopping import Stop
from cogumi.training.team import ALONE, Team

Train = Callable[[Path, Callable[[MetaStep], None], Stop], Any]
"""Trains with checkpoints in a folder, tells of each step, and stops where it is asked to."""


def resumes_exactly(train: Train, steps: int, place: Path, team: Team = ALONE) -> bool:
    """Train `steps` steps straight, and once more stopped after each of them; compare weights, moments and best weights
    of both ends. `place` is used and removed. All of a team call it together.
    """

    def to(after: int, folder: Path) -> None:
        stop = Stop()

        def watch(step: MetaStep) -> None:
            if step.step == after:
                stop.ask()

        train(folder, watch, stop)

    def removed() -> None:
        team.wait()
        if team.first:
            shutil.rmtree(place, ignore_errors=True)
        team.wait()

    removed()
    try:
        to(steps, place / "straight")
        for after in range(1, steps + 1):
            to(after, place / "stopped")
        one, other = (load_newest(place / name) for name in ("straight", "stopped"))
        team.wait()  # all have read
    finally:
        if team.first:
            shutil.rmtree(place, ignore_errors=True)
    if one is None or other is None or one.tensors.keys() != other.tensors.keys():
        return False
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
