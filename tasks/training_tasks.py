"""The training stages' tasks. Only here is torch imported, so that a machine without it can still ask for the stage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from cogumi.lm.chat import FORMATS
from cogumi.lm.device import Device
from cogumi.metrics.formatting import number
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.training.request import ModelRequest, TrainRequest, fetch_base, fetch_dataset
from cogumi.training.stopping import interruptible
from cogumi.training.watching import WATCHER
from tasks.phase_log import phases_logged

_TOLD_EVERY_S = 10.0


@task(name="fetch-dataset", persist_result=False, cache_policy=NO_CACHE)
def fetch_published_dataset(request: ModelRequest, folder: RunFolder, datasets: Versions | None) -> tuple[str, str]:
    """The dataset's folder on this machine, checked, and its id."""
    place, artifact_id = fetch_dataset(request, folder, datasets)
    return str(place), artifact_id


@task(name="fetch-base", persist_result=False, cache_policy=NO_CACHE)
def fetch_published_base(request: TrainRequest, folder: RunFolder, models: Versions | None) -> tuple[str, str]:
    """The base model's folder on this machine, checked, or its hub id; and the id it goes by."""
    return fetch_base(request, folder, models)


@task(name="train-base", persist_result=False, cache_policy=NO_CACHE)
def train_base(recipe: Recipe, folder: RunFolder, data: tuple[str, str], device: Device) -> dict[str, Any]:
    """Train from the newest checkpoint on; the loss goes to the task's log every 10 s."""
    from cogumi.training.base import DatasetInput, make_base  # noqa: PLC0415
    from cogumi.training.fitting import Step  # noqa: PLC0415

    logger, outer = get_run_logger(), WATCHER.get()
    told = time.monotonic()

    def watch(step: Step) -> None:
        nonlocal told
        outer("base", step)
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            loss, speed = number(step.loss, ".4f"), number(step.tokens_per_s, ".0f")
            logger.info("step %d: loss %s, %s tokens/s", step.step, loss, speed)

    where = DatasetInput(Path(data[0]), data[1])
    with phases_logged():
        return interruptible(lambda stop: make_base(recipe, folder, where, device, watch, stop))


@task(name="train-adapter", persist_result=False, cache_policy=NO_CACHE)
def train_adapter(
    recipe: Recipe, folder: RunFolder, data: tuple[str, str], base: tuple[str, str], device: Device
) -> dict[str, Any]:
    """Train from the newest checkpoint on, adapter and control; loss and held-out gain go to the task's log."""
    from cogumi.training.adapters import ModelInput  # noqa: PLC0415
    from cogumi.training.base import DatasetInput  # noqa: PLC0415
    from cogumi.training.meta_train import MetaStep  # noqa: PLC0415
    from cogumi.training.together import train_together  # noqa: PLC0415

    logger, outer = get_run_logger(), WATCHER.get()
    told = time.monotonic()

    def watch(arm: str, step: MetaStep) -> None:
        nonlocal told
        outer(arm, step)
        if step.gain is not None or time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            gain = "" if step.gain is None else f", held-out gain {number(step.gain, '.4f')}"
            loss, speed = number(step.loss, ".4f"), number(step.tokens_per_s, ".0f")
            logger.info("%s, step %d: loss %s%s, %s tokens/s", arm, step.step, loss, gain, speed)

    dataset, model = DatasetInput(Path(data[0]), data[1]), ModelInput(*base)
    with phases_logged():
        return interruptible(lambda stop: train_together(recipe, folder, dataset, model, device, watch, stop))


@task(name="merge-adapter", persist_result=False, cache_policy=NO_CACHE)
def merge_adapter(recipe: Recipe, folder: RunFolder, data: tuple[str, str], base: tuple[str, str]) -> dict[str, Any]:
    """Adapter and base as one model, checked; the figures of it."""
    from cogumi.training.merged import merge_trained  # noqa: PLC0415

    with phases_logged():
        figures = merge_trained(folder, Path(data[0]), base[0], FORMATS[recipe.dataset.chat_format])
    changed, error = figures["targets"], number(figures["merge_max_rel_err"], ".2g")
    get_run_logger().info("%d tensors changed, largest error %s", changed, error)
    return figures


@task(name="publish-model", task_run_name="publish-{kind}", persist_result=False, cache_policy=NO_CACHE)
def publish_model(kind: str, models: Versions, folder: RunFolder, figures: dict[str, Any]) -> str:
    """Publish what a folder of the run holds as the next version; returns its id, and tells whoever waits for new ones.

    `kind` is the folder: base, adapter, merged, draft-sft or draft.
    """
    version = models.publish(folder.path / kind, folder.name)
    artifact_id = f"{models.name}@{version.label}"
    emit_event(
        event=f"cogumi.{kind}.ready",
        resource={"prefect.resource.id": f"cogumi.{kind}.{models.name}", "prefect.resource.name": models.name},
        payload={"version": version.number, "run": folder.name, "simulated": figures["device"]["simulated"]},
    )
    return artifact_id
