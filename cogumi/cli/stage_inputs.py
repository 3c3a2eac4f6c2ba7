"""What a training stage needs in its run's folder, looked for before Prefect or torch are loaded."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cogumi.evaluate.request import ValidateRequest, fetch_models
from cogumi.recipe import Recipe
from cogumi.store.run_changes import part_of
from cogumi.store.run_folder import RunFolder, run_path
from cogumi.store.versions import Versions
from cogumi.training.claim import training_is_installed
from cogumi.training.request import DraftRequest, ModelRequest, TrainRequest, fetch_base, fetch_dataset, fetch_target


def check_inputs(request: ModelRequest, recipe: Recipe) -> None:
    """Dataset and models of the run, where the request names no published ones. What else is in the way of a stage
    (the recipe does not have it, an extra is missing) it says itself.

    Raises RunError run-without-dataset, run-without-base, run-without-merged, models-too-few.
    """
    if getattr(recipe, part_of(request.stage)) is None or not training_is_installed():
        return
    folder = RunFolder(run_path(Path(request.root), request.run), request.run, resumed=True)
    if not request.dataset and not (isinstance(request, ValidateRequest) and request.suite):
        fetch_dataset(request, folder, None)
    if isinstance(request, TrainRequest) and not request.base:
        fetch_base(request, folder, None)
    elif isinstance(request, DraftRequest) and not request.target:
        fetch_target(request, folder, None)
    elif isinstance(request, ValidateRequest) and not _names_models(request):
        fetch_models(request, recipe, folder, partial(Versions, request.store))


def _names_models(request: ValidateRequest) -> bool:
    return any((request.base, request.adapter, request.merged, request.draft))
