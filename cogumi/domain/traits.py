"""Traits: what kind of task a question is (spec section 1.13), and who said so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Complexity = Literal["low", "medium", "high"]
Classifier = Literal["teacher", "family", "rules"]
COMPLEXITIES: tuple[Complexity, ...] = ("low", "medium", "high")

TASK_TYPES: dict[str, tuple[str, ...]] = {
    "coding": ("code_generation", "code_review", "debugging", "refactoring"),
    "math": ("arithmetic", "algebra", "geometry", "word_problems"),
    "tool_use": ("api_usage", "cli_commands", "configuration"),
    "reasoning": ("logical_deduction", "pattern_recognition", "analysis"),
    "reading": ("comprehension", "inference", "vocabulary"),
    "summarization": ("condensing", "key_points", "abstraction"),
    "common_sense": ("physical_reasoning", "social_norms", "practical_knowledge"),
    "instruction": ("task_following", "multi_step", "clarification"),
    "science": ("quantitative", "conceptual", "experimental"),
}
"""The task types of a domain; the first is what a question is taken for where nothing says more."""

HARM_CATEGORIES = (
    "none",
    "violence", "self_harm", "hate", "sexual", "illegal_acts", "weapons", "cyber_attack", "privacy", "deception",
)  # fmt: skip
"""Only `none` is kept; the others are filtered and counted."""


@dataclass(frozen=True, slots=True)
class Traits:
    """One question's kind. `classified_by`: the judge in the reply that holds its scores, the family that made it, or
    rules where the reply said nothing usable.
    """

    task_type: str
    complexity: Complexity
    requires_reasoning: bool
    harm_category: str
    classified_by: Classifier

    @staticmethod
    def from_reply(row: dict[str, Any], domain: str) -> Traits | None:
        """The traits in a judge's row, or None where one is missing or not one of the allowed values."""
        task, complexity = _word(row.get("task_type")), _word(row.get("complexity"))
        harm, reasoning = _word(row.get("harm_category")), row.get("requires_reasoning")
        if isinstance(reasoning, str):
            reasoning = {"true": True, "yes": True, "false": False, "no": False}.get(_word(reasoning))
        if task not in TASK_TYPES.get(domain, ()) or complexity not in COMPLEXITIES or harm not in HARM_CATEGORIES:
            return None
        if not isinstance(reasoning, bool):
            return None
        return Traits(task, complexity, reasoning, harm, "teacher")


def _word(value: Any) -> str:
    return value.strip().lower().replace(" ", "_").replace("-", "_") if isinstance(value, str) else ""
