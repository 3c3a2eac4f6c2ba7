"""One process of a team: torchrun --nproc-per-node N -m cogumi.training.worker JOB.json (see `together`).

What it does and how it ends goes to the standard output, a JSON line each; what other libraries print is not JSON. It
ends where its standard input does: no process is to outlive the one that started the team.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import torch

from cogumi.errors import CogumiError
from cogumi.lm.device import Device
from cogumi.phases import WATCHER, Phase
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ModelInput, make_adapter
from cogumi.training.base import DatasetInput
from cogumi.training.stopping import Stop, interruptible
from cogumi.training.team import Team, joined


def main() -> None:
    """Train this process's share, by the job that the file tells."""
    job = orjson.loads(Path(sys.argv[1]).read_bytes())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    interruptible(lambda stop: _work(job, stop))


def _work(job: dict[str, Any], stop: Stop) -> None:
    device = Device(**job["device"])
    if device.torch_name.startswith("cuda"):
        device = Device(f"cuda:{os.environ['LOCAL_RANK']}", device.name, device.pool, device.simulated)
    recipe = Recipe.model_validate(job["recipe"])
    data, model = DatasetInput(Path(job["data"][0]), job["data"][1]), ModelInput(*job["model"])

    def watch(arm: str, step: Any) -> None:
        if team.first:
            _tell({"arm": arm, "step": asdict(step)})

    def phase(reported: Phase) -> None:
        if team.first:
            _tell({"phase": asdict(reported)})

    try:
        with joined(device.torch_name) as team, _folder(job, team) as folder:
            WATCHER.set(phase)
            figures = make_adapter(recipe, folder, data, model, device, watch, stop, team, job["inputs"])
            if team.first:
                _tell({"figures": figures})
    except CogumiError as error:
        _tell({"error": type(error).__name__, "code": error.code, "detail": error.detail})
        raise


@contextmanager
def _folder(job: dict[str, Any], team: Team) -> Iterator[RunFolder]:
    """The run's own for the process that writes; one to throw away, with the run's checkpoints, for the others."""
    place = Path(job["folder"])
    if team.first:
        yield RunFolder(place, job["run"], resumed=True)
        return
    with TemporaryDirectory() as scratch:
        (Path(scratch) / "checkpoints").symlink_to(place / "checkpoints")
        yield RunFolder(Path(scratch), job["run"], resumed=True)


def _tell(what: dict[str, Any]) -> None:
    """In one write, so that lines of several processes do not mix."""
    os.write(1, orjson.dumps(what, option=orjson.OPT_APPEND_NEWLINE))


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
