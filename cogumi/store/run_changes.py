"""What a recipe changes about a run that exists, and which of these changes need --change.

A part of the recipe (dataset, base, train ...) that the run has started keeps its content unless --change is given:
other content buys again, or replaces what is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogumi.errors import RunError
from cogumi.recipe import Recipe
from cogumi.recipe.changes import PARTS, Change, changed_content, part_of_key, recipe_changes
from cogumi.store.artifacts import RECEIPT
from cogumi.store.ledger_file import is_missing

_ARTIFACTS = {
    "dataset": ("dataset",),
    "base": ("base",),
    "train": ("adapter",),
    "draft": ("draft", "draft-sft"),
    "validation": ("validation",),
}
_MOST_SHOWN = 20
_PART_OF_STAGE = {"": "dataset", "draft-sft": "draft", "suite": "validation", "validate": "validation"}
_ARTIFACT_OF_STAGE = {"": "dataset", "train": "adapter", "validate": "validation"}
_COMMANDS = {"validation": "validate"}


@dataclass(frozen=True, slots=True)
class RunChanges:
    """What the run holds and what is asked for: every key that differs, and the started parts whose content does."""

    stored: Recipe
    recipe: Recipe
    changes: list[Change]
    content: set[str]

    def describe(self) -> str:
        """One line a key; those that change nothing that is made are not among them."""
        return _lines([change for change in self.changes if part_of_key(change.key) in self.content])

    def describe_others(self) -> str:
        """One line a key of those that need no permission."""
        return _lines([change for change in self.changes if part_of_key(change.key) not in self.content])

    def only_for(self, stage: str) -> Recipe:
        """The recipe that the run holds, with the part of this stage as it is asked for."""
        own = part_of(stage)
        return self.stored.model_copy(update={own: getattr(self.recipe, own)})

    def refused_for(self, stage: str, allowed: bool) -> set[str]:
        """The parts that keep `stage` from running: its own unless that is allowed, and those before it."""
        own = PARTS.index(part_of(stage))
        return {part for part in self.content if PARTS.index(part) < own or (PARTS.index(part) == own and not allowed)}

    def merged_recipe(self, stage: str) -> dict[str, Any]:
        """What the run is made by from now on: the new recipe, but for started parts after this stage, which keep
        theirs until they are run.
        """
        before = self.stored.model_dump(mode="json")
        return {**self.recipe.model_dump(mode="json"), **{part: before[part] for part in self.kept_after(stage)}}

    def kept_after(self, stage: str) -> set[str]:
        """The started parts after this stage whose content the new recipe does not change yet."""
        own = PARTS.index(part_of(stage))
        return {part for part in self.content if PARTS.index(part) > own}


def part_of(stage: str) -> str:
    """The part of the recipe that a stage runs; "" is the dataset's."""
    return _PART_OF_STAGE.get(stage, stage)


def artifact_of(stage: str) -> str:
    """The folder in a run that a stage makes; "" is the dataset's stage."""
    return _ARTIFACT_OF_STAGE.get(stage, stage)


def find_changes(
    path: Path, ledger_url: str, run: str, stored: Recipe, recipe: Recipe, questions: Change | None = None
) -> RunChanges:
    """Compare the recipe with the one that a run holds, in `path` and in its ledger. `questions`: how the existing
    questions differ.

    Raises StorageError of the ledger.
    """
    changes = recipe_changes(stored, recipe)
    differs = changed_content(stored, recipe) if changes else set()
    if questions is not None:
        changes, differs = [questions, *changes], differs | {"dataset"}
    return RunChanges(stored, recipe, changes, {part for part in differs if _has_started(path, ledger_url, run, part)})


def refuse(name: str, found: RunChanges, stage: str, allowed: bool, price: str = "") -> None:
    """Raises RunError run-recipe-changed with every key that differs, and the price where it is known."""
    refused = found.refused_for(stage, allowed)
    if not refused:
        return
    before = [part for part in PARTS if part in refused - {part_of(stage)}]
    commands = ", ".join(f"cogumi run {_COMMANDS.get(part, part)} --change" for part in before)
    where = f"; {', '.join(before)}: changed by {commands}, or all stages by cogumi run all --change" if before else ""
    cost = f"\n    {price}" if price else ""
    raise RunError("run-recipe-changed", f"{name}{where}{found.describe()}{cost}")


def _lines(changes: list[Change]) -> str:
    more = f"\n    and {len(changes) - _MOST_SHOWN} more" if len(changes) > _MOST_SHOWN else ""
    return "".join(f"\n    {change}" for change in changes[:_MOST_SHOWN]) + more


def _has_started(path: Path, ledger_url: str, run: str, part: str) -> bool:
    """Whether there is something to lose: an artifact, a checkpoint, or a call that was made."""
    for name in _ARTIFACTS[part]:
        if (path / name / RECEIPT).is_file() or any(path.glob(f"checkpoints/{name}-*")):
            return True
    return part == "dataset" and _has_calls(path, ledger_url, run)


def _has_calls(path: Path, ledger_url: str, run: str) -> bool:
    if any(path.glob("shards/*.json")):
        return True
    if is_missing(ledger_url):
        return False
    from cogumi.store.ledger import Ledger  # noqa: PLC0415 # SQLAlchemy takes a while to import

    ledger = Ledger.view(ledger_url, run)
    try:
        return ledger.has_attempts
    finally:
        ledger.close()
