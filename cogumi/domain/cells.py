"""Cell: one (domain, difficulty) pair, the unit in which row counts are promised.

The eight domains are those of spec section 1.1; `science` is a ready ninth (1.16).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Difficulty(StrEnum):
    """Easy: one step, a basic pattern. Hard: several steps, edge cases (spec section 1.1)."""

    EASY = "easy"
    HARD = "hard"


DIFFICULTIES = (Difficulty.EASY, Difficulty.HARD)

DOMAINS: dict[str, str] = {
    "coding": "Coding",
    "math": "Math",
    "tool_use": "Tool Use",
    "reasoning": "Reasoning",
    "reading": "Reading",
    "summarization": "Summarization",
    "common_sense": "Common Sense",
    "instruction": "Instruction",
    "science": "Science",
}
"""Key used in ids, files and recipes -> display name used in prompts and metadata."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One (domain, difficulty) pair; str() gives the key of reports, "math/easy"."""

    domain: str
    difficulty: Difficulty

    def __str__(self) -> str:
        return f"{self.domain}/{self.difficulty}"

    @staticmethod
    def parse(text: str) -> Cell:
        domain, _, difficulty = text.partition("/")
        return Cell(domain, Difficulty(difficulty))


def domain_key(name: str) -> str | None:
    """The key of a domain however it is written ("Common Sense", "common-sense"), or None where there is no such
    domain.
    """
    key = name.strip().lower().replace(" ", "_").replace("-", "_")
    return key if key in DOMAINS else None


def unknown_domains(names: Iterable[str]) -> str:
    """Names of which none is a domain's, with the known ones, for errors."""
    listed = list(names)
    return f"unknown domain{'s' if len(listed) > 1 else ''}: {', '.join(listed)}; there are {', '.join(DOMAINS)}"
