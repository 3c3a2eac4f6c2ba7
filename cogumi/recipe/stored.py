"""Stored recipes: those of run folders of every format, read as they were meant when they were written.

    recipe = stored_recipe(run["recipe"], run["format"])

Format 3 has `answers_hard.guide`; before it, a cache brought the guide along. Format 2 has task types and
near-duplicates.
"""

from __future__ import annotations

from typing import Any

from cogumi.recipe.loading import check_recipe
from cogumi.recipe.sections import Recipe

_CACHE, _GUIDE = "dataset.answers_hard.cache=", "dataset.answers_hard.guide="


def stored_recipe(raw: dict[str, Any], run_format: int) -> Recipe:
    """The recipe that a run folder of this format holds. Raises InputError as `check_recipe` does."""
    if not _guided_by_cache(raw, run_format):
        return check_recipe(raw)
    data = raw["dataset"]
    return check_recipe({**raw, "dataset": {**data, "answers_hard": {**data["answers_hard"], "guide": True}}})


def as_of_format(recipe: Recipe, raw: dict[str, Any], run_format: int) -> Recipe:
    """A recipe as a run folder of an older format was started with, of which `raw` is the stored one: what was added
    since stays off, and a guide that came with the cache stays on, so that a resumed run asks what it asked before.
    """
    data = recipe.dataset
    changes: dict[str, Any] = {}
    if run_format < 2:
        changes["judge"] = data.judge.model_copy(update={"classify": False})
        changes["near_duplicates"] = data.near_duplicates.model_copy(update={"remove": False})
    if _guided_by_cache(raw, run_format) and not data.answers_hard.guide:
        started = {"guide": True, "cache": raw["dataset"]["answers_hard"]["cache"]}
        changes["answers_hard"] = data.answers_hard.model_copy(update=started)
    return recipe.model_copy(update={"dataset": data.model_copy(update=changes)}) if changes else recipe


def overrides_of_format(overrides: list[str], run_format: int) -> list[str]:
    """The overrides that a run of an older format was started with, as they are written now."""
    cached = any(o.startswith(_CACHE) and o.removeprefix(_CACHE).strip("\"' ") in ("5m", "1h") for o in overrides)
    named = any(o.startswith(_GUIDE) for o in overrides)
    return [*overrides, f"{_GUIDE}true"] if run_format < 3 and cached and not named else overrides


def _guided_by_cache(raw: dict[str, Any], run_format: int) -> bool:
    return run_format < 3 and raw["dataset"]["answers_hard"].get("cache", "off") != "off"
