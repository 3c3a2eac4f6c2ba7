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
    """A hash of everything that a stage's result follows from: this version, the recipe up to the stage, given files,
    and what the stages before have made. None where it follows from what lies elsewhere (a store, a hub, benchmarks).

    Args:
        questions: files or folders of existing questions.
        published: what the request names in a store; empty names do not count.
    """
    if any(published) or _reads_elsewhere(stage, recipe):
        return None
    stages = list(ARTIFACTS)
    place = stages.index(stage)
    before = [name for earlier in stages[:place] for name in ARTIFACTS[earlier]]
    receipts = {name: sha256_of(folder / name / RECEIPT) for name in before if (folder / name / RECEIPT).is_file()}
    parts = [content(recipe, part) for part in PARTS[: place + 1]]
    return content_hash([__version__, stage, parts, _hashes(questions), receipts])


def _reads_elsewhere(stage: str, recipe: Recipe) -> bool:
    data, train, draft, validation = recipe.dataset, recipe.train, recipe.draft, recipe.validation
    found: dict[str, list[Any]] = {
        "dataset": [data.augment, data.near_duplicates.against, data.tokenizer.path],
        "base": [recipe.base is None, recipe.base and recipe.base.texts],
        "train": [train is None, train and (train.base or train.trackers)],
        "draft": [draft is None, draft and (draft.target or draft.model)],
        "validate": [validation is None, validation and (validation.benchmarks or validation.recorded)],
    }
    upto = list(found)[: list(found).index(stage)]
    own = any(found[stage])
    return own or any(each for name in upto for each in found[name] if not isinstance(each, bool))


def _hashes(questions: list[str]) -> list[str]:
    files = [file for path in map(Path, questions) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [sha256_of(file) for file in files if file.is_file()]
