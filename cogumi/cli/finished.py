"""Whether a run holds what a request asks for, whole, so that nothing is to be bought or trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi.dataset.request import DatasetRequest
from cogumi.recipe import Recipe
from cogumi.store.files import read_json
from cogumi.store.finished import finished_figures, note_finished
from cogumi.store.run_folder import read_run, run_path
from cogumi.store.versions import VERSION_FILE
from cogumi.system.finished_stages import ARTIFACTS, finished_key
from cogumi.training.request import ModelRequest

StageRequest = DatasetRequest | ModelRequest


def figures_of_finished(request: StageRequest, recipe: Recipe) -> dict[str, Any] | None:
    """The figures of what the stage has made for such a request; None where it is to be run."""
    folder = run_path(Path(request.root), request.run)
    if not (folder / "report.html").is_file():
        return None
    read_run(folder)  # one that a newer version has made is left alone
    key = _key(request, recipe)
    return finished_figures(folder, _stage(request), key) if key else None


def remember_finished(request: StageRequest, recipe: Recipe, figures: dict[str, Any]) -> None:
    """Note what the stage has made, for the next such request."""
    key, folder = _key(request, recipe), run_path(Path(request.root), request.run)
    if key is not None:
        note_finished(folder, _stage(request), key, figures, ARTIFACTS[_stage(request)])


def _key(request: StageRequest, recipe: Recipe) -> str | None:
    folder = run_path(Path(request.root), request.run)
    if isinstance(request, DatasetRequest):
        elsewhere = "" if _is_published(request, folder) else request.dataset
        return finished_key("dataset", recipe, folder, request.questions, [elsewhere])
    named = [getattr(request, name) for name in ("dataset", *request.published)]
    return finished_key(request.stage, recipe, folder, [], named)


def _is_published(request: DatasetRequest, folder: Path) -> bool:
    """Whether the run's version of the dataset is in the store, which must be a folder of this machine."""
    told, manifests = folder / VERSION_FILE, Path(request.versions) / request.dataset / "manifests"
    if not request.dataset or not told.is_file():
        return False
    version = read_json(told)
    return bool(version["dataset"] == request.dataset and (manifests / f"v{version['version']:04d}.json").is_file())


def _stage(request: StageRequest) -> str:
    return "dataset" if isinstance(request, DatasetRequest) else request.stage
