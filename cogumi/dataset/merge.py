"""Merge: the spec's checks on the whole dataset (section 1.5). Nothing that fails one is published."""

from __future__ import annotations

from collections import Counter

from cogumi.dataset.duplicates import fingerprint
from cogumi.domain import Difficulty, Example
from cogumi.errors import RunError


def check_merged(examples: list[Example], expected: dict[str, int]) -> dict[str, int]:
    """Counts a cell, after every check has passed. Raises RunError merge-refused naming the check.

    Args:
        expected: rows by "domain/difficulty", exactly.
    """
    counts = Counter(str(example.question.cell) for example in examples)
    wrong = {cell: (counts.get(cell, 0), rows) for cell, rows in expected.items() if counts.get(cell, 0) != rows}
    wrong |= {cell: (rows, 0) for cell, rows in counts.items() if cell not in expected}
    if wrong:
        told = ", ".join(f"{cell}: {got} instead of {want}" for cell, (got, want) in sorted(wrong.items()))
        raise RunError("merge-refused", f"counts differ: {told}")
    _refuse("doubled question_id", _doubled([example.question.question_id for example in examples]))
    _refuse("doubled question", _doubled([fingerprint(example.question.text) for example in examples]))
    _refuse("missing field", [e.question.question_id or "?" for e in examples if not _whole(e)])
    return {cell: counts[cell] for cell in expected}


def _whole(example: Example) -> bool:
    question = example.question
    fields = (
        question.question_id,
        question.text,
        question.generated_by,
        example.answer,
        example.answered_by,
        example.timestamp,
    )
    hard = question.cell.difficulty is Difficulty.HARD
    return all(fields) and question.judgement is not None and (example.reasoning is not None) == hard


def _doubled(values: list[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


def _refuse(check: str, rows: list[str]) -> None:
    if rows:
        raise RunError("merge-refused", f"{check}: {', '.join(rows[:5])}{' ...' if len(rows) > 5 else ''}")
