"""The adapters' stage in as many processes as the recipe says: alone in this one, or a team that torchrun starts.

figures = train_together(recipe, folder, dataset, model, device, watch, stop)

The team trains into the run's own checkpoints and publishes the adapter; this process holds the run's lock, hands on
what the first of them tells, and asks them to stop (SIGTERM: they finish the step and save). Where it dies, so do they.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess  # nosec B404 # torchrun, with arguments of our own
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from cogumi import errors
from cogumi.errors import CogumiError, RunError
from cogumi.lm.device import Device, visible_cards
from cogumi.phases import WATCHER, Phase
from cogumi.recipe import Recipe
from cogumi.store.artifacts import held_metrics
from cogumi.store.files import write_json
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ARTIFACT, ModelInput, adapter_inputs, make_adapter
from cogumi.training.arms import Watch
from cogumi.training.base import DatasetInput
from cogumi.training.claim import train_section_of
from cogumi.training.meta_train import MetaStep
from cogumi.training.stopping import Stop

JOB, LOG = "team.json", "team.log"
_LOOK_S = 0.2
_TAIL = 2000  # characters


def train_together(
    recipe: Recipe,
    folder: RunFolder,
    data: DatasetInput,
    model: ModelInput,
    device: Device,
    watch: Watch = lambda arm, step: None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """As make_adapter, whose errors it raises; and RunError processes-died where a process ended without a word."""
    processes = train_section_of(recipe).processes
    if processes == 1:
        return make_adapter(recipe, folder, data, model, device, watch, stop)
    inputs = adapter_inputs(recipe, data, model)  # every byte of rows and base is read here, once for all of them
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    (folder.path / "checkpoints").mkdir(exist_ok=True)
    job = {
        "recipe": recipe.model_dump(mode="json"), "folder": str(folder.path), "run": folder.name,
        "data": [str(data.folder), data.artifact_id], "model": [model.source, model.artifact_id],
        "device": device.to_json(), "inputs": inputs,
    }  # fmt: skip
    write_json(folder.path / JOB, job)
    told = _run(folder.path, processes, _environment(processes, device), watch, stop or Stop())
    if "code" in told:
        kind: type[CogumiError] = getattr(errors, told["error"])
        raise kind(told["code"], told["detail"])
    if "figures" not in told:
        raise RunError("processes-died", f"exit {told['exit']}; {folder.path / LOG} ends: {_tail(folder.path / LOG)}")
    (folder.path / JOB).unlink(missing_ok=True)
    figures: dict[str, Any] = told["figures"]
    return figures


def _run(place: Path, processes: int, environment: Mapping[str, str], watch: Watch, stop: Stop) -> dict[str, Any]:
    """What the team told at its end, and the exit code."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "cogumi.training.worker", str(place / JOB)]
    ended: dict[str, Any] = {}
    failed: list[Exception] = []
    (place / LOG).unlink(missing_ok=True)
    with (place / LOG).open("ab") as log:
        team = subprocess.Popen(  # nosec B603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=dict(environment)
        )
        assert team.stdout is not None
        lines, report = team.stdout, WATCHER.get()

        def listen() -> None:
            for line in lines:
                told = _read(line)
                if told is None:
                    log.write(line)
                elif "phase" in told:
                    report(Phase(**told["phase"]))
                elif "step" not in told:
                    ended.update({key: value for key, value in told.items() if key not in ended})
                elif not failed:
                    try:
                        watch(told["arm"], _step(told["step"]))
                    except Exception as error:  # noqa: BLE001 - whatever they raise who watch; the team is heard out
                        failed.append(error)
                        stop.ask()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        asked = False
        while True:
            try:
                ended["exit"] = team.wait(_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                if stop.asked and not asked:
                    asked = True
                    team.send_signal(signal.SIGTERM)
        listener.join()
    if failed:
        raise failed[0]
    return ended


def _read(line: bytes) -> dict[str, Any] | None:
    """A line of ours; None for whatever else."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) and told.keys() & {"step", "phase", "figures", "error"} else None


def _step(told: dict[str, Any]) -> MetaStep:
    """JSON has no NaN: a step without a support set comes with null."""
    for name in ("loss", "support_first", "support_last", "norm"):
        told[name] = math.nan if told[name] is None else told[name]
    return MetaStep(**told)


def _environment(processes: int, device: Device) -> dict[str, str]:
    """Each process gets its share of the cores, and the freest cards of the kind."""
    found = dict(os.environ)
    found.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if device.torch_name.startswith("cuda"):
        found["CUDA_VISIBLE_DEVICES"] = ",".join(visible_cards(processes))
    return found


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_TAIL:].strip() if log.is_file() else ""
