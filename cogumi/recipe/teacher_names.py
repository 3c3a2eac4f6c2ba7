"""Names of teachers in a recipe's plain data, which may be wrong elsewhere too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STAGES = ("questions", "judge", "answers_easy", "answers_hard")


def unknown_teachers(recipe: Mapping[str, Any]) -> list[str]:
    """A line for each name that a stage has and `teachers` has not."""
    teachers, data = recipe.get("teachers"), recipe.get("dataset")
    if not isinstance(teachers, Mapping) or not isinstance(data, Mapping):
        return []
    sections = [section for name in _STAGES if isinstance(section := data.get(name), Mapping)]
    named = [section.get("teacher") for section in sections]
    for section in sections:
        by_domain = section.get("teacher_by_domain")
        named += by_domain.values() if isinstance(by_domain, Mapping) else []
    unknown = sorted({name for name in named if isinstance(name, str) and name not in teachers})
    return [
        f"no teacher called {name!r}; there are {', '.join(map(str, sorted(teachers, key=str)))}" for name in unknown
    ]
