"""Differences between two recipes, and which of them change what a run makes.

    for change in recipe_changes(started_with, asked):
        print(change)                      # dataset.judge.pass_mean: 7.0 -> 9.5
    changed_content(started_with, asked)   # {"dataset"}: the parts whose content differs

The content of a part is what its requests and rows, or its weights, are a function of. Limits, URLs, names of keys and
the budget are not among it: a run goes on with other ones as if nothing had changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cogumi.recipe.sections import DatasetSection, Recipe, TeacherSection

PARTS = ("dataset", "base", "train", "draft", "validation")
"""Parts of a recipe by the name of their section, in the order they are run in."""
NOT_CONTENT: dict[str, set[str]] = {
    "dataset": {"deadline_h", "checkpoint_rows", "max_rounds"},
    "base": {"usd_per_hour", "save_every"},
    "train": {"trackers", "usd_per_hour", "processes", "shard_base"},
    "draft": {"usd_per_hour", "save_every"},
    "validation": {"token_budget"},
}
"""Keys of a section that change how it is run, and not what comes of it."""
_HOW_CALLED = {"workers", "delivery", "cache"}
_STAGES = ("questions", "judge", "answers_easy", "answers_hard")
_LOOPBACK = {"defect_share", "wrong_share"}
QUESTIONS = "questions"
"""Stands among the keys for existing questions, which a request names and no recipe."""
ABSENT = "(not set)"
_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class Change:
    """A key of the recipe whose value differs; `old` or `new` is "(not set)" where one recipe does not have it."""

    key: str
    old: Any
    new: Any

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "old": self.old, "new": self.new}

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.old)} -> {shown(self.new)}"


def recipe_changes(old: Recipe, new: Recipe) -> list[Change]:
    """Every key whose value differs, in the order of the new recipe, then those that only the old one has."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = [*after, *(key for key in before if key not in after)]
    pairs = ((key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys)
    return [Change(key, was, now) for key, was, now in pairs if was != now]


def changed_content(old: Recipe, new: Recipe) -> set[str]:
    """The parts of the recipe whose content differs: names of PARTS."""
    return {part for part in PARTS if content(old, part) != content(new, part)}


def part_of_key(key: str) -> str:
    """The part of the recipe whose content a dotted key belongs to; "" where it belongs to none."""
    first, *rest = key.split(".")
    if first in PARTS[1:]:
        return "" if rest and rest[0] in NOT_CONTENT[first] else first
    if first == "dataset":
        neutral = bool(rest) and (rest[0] in NOT_CONTENT[first] or (rest[0] in _STAGES and rest[-1] in _HOW_CALLED))
        return "" if neutral else first
    names = {"teachers": {"wire", "provider", "model"}, "loopback": _LOOPBACK}.get(first, set())
    return "dataset" if first in ("seed", QUESTIONS) or (rest and rest[-1] in names) else ""


def content(recipe: Recipe, part: str) -> Any:
    """What a part's result is a function of, beside the parts before it, as plain data; None where there is none."""
    if part == "dataset":
        return _dataset_content(recipe)
    section = getattr(recipe, part)
    if section is None:
        return None
    unread = {"texts_mb"} if part == "base" and not section.texts else set()
    return [recipe.seed, section.model_dump(mode="json", exclude=NOT_CONTENT[part] | unread)]


def same_export(stored: dict[str, Any], section: DatasetSection) -> bool:
    """Whether a dataset of the same rows, published by the section `stored` in its receipt, is what this section would
    publish: its splits, formats and card. A section that this version cannot read is taken for the same.
    """
    try:
        before = DatasetSection.model_validate(stored)
    except ValidationError:
        return True
    return _export_content(before) == _export_content(section)


def _export_content(section: DatasetSection) -> dict[str, Any]:
    data = section.model_dump(mode="json", exclude=NOT_CONTENT["dataset"])
    names = {"teacher", "teacher_by_domain", *_HOW_CALLED}
    return {key: _without(value, names) if key in _STAGES else value for key, value in data.items()}


def _without(section: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in names}


def _dataset_content(recipe: Recipe) -> dict[str, Any]:
    """Teachers stand for themselves: by what another name they go in the recipe changes nothing."""
    data: dict[str, Any] = recipe.dataset.model_dump(mode="json", exclude=NOT_CONTENT["dataset"])
    for stage in _STAGES:
        section = _without(data[stage], _HOW_CALLED)
        section["teacher"] = _identity(recipe.teachers[section["teacher"]])
        by_domain = section.get("teacher_by_domain", {})
        section["teacher_by_domain"] = {d: _identity(recipe.teachers[name]) for d, name in by_domain.items()}
        data[stage] = section
    loopback = recipe.loopback.model_dump(mode="json", include=_LOOPBACK) if recipe.needs_loopback else {}
    return {"seed": recipe.seed, "dataset": data, "loopback": loopback}


def _identity(teacher: TeacherSection) -> list[str]:
    return [teacher.wire, teacher.label, teacher.model]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key; an empty section or a list is a leaf."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in _flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def shown(value: Any) -> str:
    """A value of a recipe in a line of text, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
