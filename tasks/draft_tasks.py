"""The draft's task. Only here is torch imported, so that a machine without it can still ask for the stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from cogumi.lm.device import Device
from cogumi.metrics.formatting import number
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.training.request import DraftRequest, fetch_imitation, fetch_target
from cogumi.training.stopping import interruptible
from cogumi.training.watching import WATCHER
from tasks.phase_log import phases_logged

_TOLD_EVERY_S = 10.0


@task(name="fetch-target", persist_result=False, cache_policy=NO_CACHE)
def fetch_published_target(request: DraftRequest, folder: RunFolder, models: Versions | None) -> tuple[str, str]:
    """The target's folder on this machine, checked, or its hub id; and the id it goes by."""
    return fetch_target(request, folder, models)


@task(name="fetch-imitation", persist_result=False, cache_policy=NO_CACHE)
def fetch_published_imitation(
    request: DraftRequest, folder: RunFolder, models: Versions | None
) -> tuple[str, str] | None:
    """What another card has learned of teacher text, on this machine, checked, and its id."""
    return fetch_imitation(request, folder, models)


@task(name="train-draft-sft", persist_result=False, cache_policy=NO_CACHE)
def train_imitation(
    recipe: Recipe, folder: RunFolder, data: tuple[str, str], target: tuple[str, str], device: Device
) -> dict[str, Any]:
    """Teacher text alone, from the newest checkpoint on."""
    from cogumi.training.adapters import ModelInput  # noqa: PLC0415
    from cogumi.training.base import DatasetInput  # noqa: PLC0415
    from cogumi.training.draft.imitation import make_imitation  # noqa: PLC0415

    watch, dataset, model = _watch(), DatasetInput(Path(data[0]), data[1]), ModelInput(*target)
    with phases_logged():
        return interruptible(lambda stop: make_imitation(recipe, folder, dataset, model, device, watch, stop))


@task(name="train-draft-model", persist_result=False, cache_policy=NO_CACHE)
def train_draft_model(
    recipe: Recipe,
    folder: RunFolder,
    data: tuple[str, str],
    target: tuple[str, str],
    device: Device,
    imitation: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Train from the newest checkpoint on, and from what was learned of teacher text elsewhere where that is given."""
    from cogumi.training.adapters import ModelInput  # noqa: PLC0415
    from cogumi.training.base import DatasetInput  # noqa: PLC0415
    from cogumi.training.draft.stage import make_draft  # noqa: PLC0415

    watch, dataset, model = _watch(), DatasetInput(Path(data[0]), data[1]), ModelInput(*target)
    begun = ModelInput(*imitation) if imitation else None
    with phases_logged():
        return interruptible(lambda stop: make_draft(recipe, folder, dataset, model, device, watch, stop, begun))


def _watch() -> Callable[[str, Any], None]:
    """Each part's start, and its loss every 10 s, go to the task's log."""
    logger, outer = get_run_logger(), WATCHER.get()
    told, told_of = time.monotonic(), ""

    def watch(part: str, step: Any) -> None:
        nonlocal told, told_of
        outer(part, step)
        if part != told_of or time.monotonic() - told > _TOLD_EVERY_S:
            told, told_of = time.monotonic(), part
            loss, speed = number(step.loss, ".4f"), number(step.tokens_per_s, ".0f")
            logger.info("%s, step %d: loss %s, %s tokens/s", part, step.step, loss, speed)

    return watch
