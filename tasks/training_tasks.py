"""The base stage's tasks. Only here is torch imported, so that a machine without it can still ask for the stage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from cogumi.lm.device import Device
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.training.request import BaseRequest, fetch_dataset
from cogumi.training.stopping import interruptible

_TOLD_EVERY_S = 10.0


@task(name="fetch-dataset", persist_result=False, cache_policy=NO_CACHE)
def fetch_published_dataset(request: BaseRequest, folder: RunFolder, datasets: Versions | None) -> tuple[str, str]:
    """The dataset's folder on this machine, checked, and its id."""
    place, artifact_id = fetch_dataset(request, folder, datasets)
    return str(place), artifact_id


@task(name="train-base", persist_result=False, cache_policy=NO_CACHE)
def train_base(recipe: Recipe, folder: RunFolder, data: tuple[str, str], device: Device) -> dict[str, Any]:
    """Train from the newest checkpoint on; the loss goes to the task's log every 10 s."""
    from cogumi.training.base import DatasetInput, make_base  # noqa: PLC0415
    from cogumi.training.pretrain import Step  # noqa: PLC0415

    logger = get_run_logger()
    told = time.monotonic()

    def watch(step: Step) -> None:
        nonlocal told
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            logger.info("step %d: loss %.4f, %.0f tokens/s", step.step, step.loss, step.tokens_per_s)

    where = DatasetInput(Path(data[0]), data[1])
    return interruptible(lambda stop: make_base(recipe, folder, where, device, watch, stop))


@task(name="publish-base", persist_result=False, cache_policy=NO_CACHE)
def publish_base(models: Versions, folder: RunFolder, figures: dict[str, Any]) -> str:
    """Publish the model as the next version; returns its id, and tells whoever waits for new ones."""
    version = models.publish(folder.path / "base", folder.name)
    artifact_id = f"{models.name}@{version.label}"
    emit_event(
        event="cogumi.base.ready",
        resource={"prefect.resource.id": f"cogumi.base.{models.name}", "prefect.resource.name": models.name},
        payload={"version": version.number, "run": folder.name, "simulated": figures["device"]["simulated"]},
    )
    return artifact_id
