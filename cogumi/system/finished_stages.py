"""What the stages of a run are functions of, known without torch and without a connection, so that a command that has
nothing to do says so at once.

    key = finished_key("base", request, recipe, folder)
    figures = finished_figures(folder, "base", key) if key else None
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi import __version__
from cogumi.recipe import Recipe, content_hash
from cogumi.recipe.changes import PARTS, content
from cogumi.store.artifacts import RECEIPT
from cogumi.store.files import sha256_of

ARTIFACTS = {
    "dataset": ("dataset",),
    "base": ("base",),
    "train": ("adapter", "merged"),
    "draft": ("draft",),
    "validate": ("suite", "validation"),
}
"""What each stage publishes in the run's folder, by the stage's name; the stages are in the order they are run in."""


def finished_key(stage: str, recipe: Recipe, folder: Path, questions: list[str], published: list[str]) -> str | None:
    """A hash of everything that a stage's result follows from: this version, the recipe up to the stage, files that it
    reads, and what the stages before have made. None where it follows from what is not on this machine's disk (a store,
    a hub).

    Args:
        questions: files or folders of existing questions.
        published: what the request names in a store; empty names do not count.
    """
    stages = list(ARTIFACTS)
    place = stages.index(stage)
    found = [_state(Path(each)) for name in stages[: place + 1] for each in _read_from(name, recipe)]
    if any(published) or None in found:
        return None
    before = [name for earlier in stages[:place] for name in ARTIFACTS[earlier]]
    receipts = {name: sha256_of(folder / name / RECEIPT) for name in before if (folder / name / RECEIPT).is_file()}
    parts = [content(recipe, part) for part in PARTS[: place + 1]]
    return content_hash([__version__, stage, parts, _hashes(questions), receipts, found])


def _read_from(stage: str, recipe: Recipe) -> list[str]:
    """Files, folders and ids of hubs that a stage reads beside what the run holds."""
    data, base, train, draft, validation = recipe.dataset, recipe.base, recipe.train, recipe.draft, recipe.validation
    if stage == "dataset":
        public = [part.path or part.hub or "" for part in data.augment]
        return [*filter(None, public), *data.near_duplicates.against, *filter(None, [data.tokenizer.path])]
    if stage == "base":
        return list(base.texts) if base else []
    if stage == "train":
        return [train.base] if train and train.base else []
    if stage == "draft":
        return [*filter(None, [draft.target, draft.model])] if draft else []
    return [*validation.benchmarks.values(), *validation.recorded.values()] if validation else []


def _state(place: Path) -> list[Any] | None:
    """Size and time of change of a file, or of every file in a folder; None for what is neither."""
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    told = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
    return told or None


def _hashes(questions: list[str]) -> list[str]:
    files = [file for path in map(Path, questions) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [sha256_of(file) for file in files if file.is_file()]
