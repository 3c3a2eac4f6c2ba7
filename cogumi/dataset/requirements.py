"""What a recipe needs before the first call, checked at once and without a connection: known domains, and keys."""

from __future__ import annotations

from cogumi.domain import DOMAINS
from cogumi.errors import InputError
from cogumi.recipe import Recipe
from cogumi.teachers.keys import key_for


def check_domains(recipe: Recipe) -> None:
    """Raises InputError domain-unknown with every unknown domain and the known ones."""
    data = recipe.dataset
    unknown = sorted({*data.cells, *data.questions.teacher_by_domain} - set(DOMAINS))
    if unknown:
        raise InputError("domain-unknown", f"{', '.join(unknown)}; there are {', '.join(DOMAINS)}")


def check_keys(recipe: Recipe) -> None:
    """Raises InputError key-missing with every variable that is not set, and the teachers that need it."""
    missing: dict[str, list[str]] = {}
    for name, section in recipe.teachers.items():
        if section.api_key_env and not key_for(section.api_key_env):
            missing.setdefault(section.api_key_env, []).append(name)
    if missing:
        raise InputError("key-missing", "; ".join(f"{key} (teachers {', '.join(of)})" for key, of in missing.items()))
