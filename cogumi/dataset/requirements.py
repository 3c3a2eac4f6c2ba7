"""What a run needs before the first call and without a connection: the keys of the teachers that it calls."""

from __future__ import annotations

from collections.abc import Iterable

from cogumi.errors import InputError
from cogumi.recipe import Recipe
from cogumi.teachers.keys import key_for


def check_keys(recipe: Recipe, teachers: Iterable[str] | None = None) -> None:
    """Raises InputError key-missing with every variable that is not set, and the teachers that need it.

    Args:
        teachers: those that are called, by the recipe's names; None for all.
    """
    missing: dict[str, list[str]] = {}
    for name in dict.fromkeys(recipe.teachers if teachers is None else teachers):
        section = recipe.teachers[name]
        if section.api_key_env and not key_for(section.api_key_env):
            missing.setdefault(section.api_key_env, []).append(name)
    if missing:
        needs = (f"{key} (teacher{'s' if len(of) > 1 else ''} {', '.join(of)})" for key, of in missing.items())
        raise InputError("key-missing", "; ".join(needs))
