"""Merge: the spec's checks on the whole dataset (section 1.5). Nothing that fails one is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cogumi.dataset.duplicates import fingerprint
from cogumi.domain import Difficulty, Example
from cogumi.errors import RunError


@dataclass(slots=True)
class Merge:
    """What is checked and counted while the rows go by."""

    cells: Counter[str] = field(default_factory=Counter)
    verification: Counter[str] = field(default_factory=Counter)
    _ids: set[str] = field(default_factory=set)
    _marks: set[str] = field(default_factory=set)
    _doubled_ids: list[str] = field(default_factory=list)
    _doubled_questions: list[str] = field(default_factory=list)
    _unwhole: list[str] = field(default_factory=list)

    def watch(self, examples: Iterable[Example]) -> Iterator[Example]:
        """The same rows, noted as they pass."""
        for example in examples:
            question = example.question
            self.cells[str(question.cell)] += 1
            self.verification[example.verification] += 1
            _note(question.question_id, self._ids, self._doubled_ids)
            _note(fingerprint(question.text), self._marks, self._doubled_questions)
            if not _whole(example):
                self._unwhole.append(question.question_id or "?")
            yield example

    def check(self, expected: dict[str, int]) -> dict[str, int]:
        """Counts a cell, after every check has passed. Raises RunError merge-refused naming the check.

        Args:
            expected: rows by "domain/difficulty", exactly.
        """
        counts = self.cells
        wrong = {cell: (counts[cell], rows) for cell, rows in expected.items() if counts[cell] != rows}
        wrong |= {cell: (rows, 0) for cell, rows in counts.items() if cell not in expected}
        if wrong:
            told = ", ".join(f"{cell}: {got} instead of {want}" for cell, (got, want) in sorted(wrong.items()))
            raise RunError("merge-refused", f"counts differ: {told}")
        _refuse("doubled question_id", self._doubled_ids)
        _refuse("doubled question", self._doubled_questions)
        _refuse("missing field", self._unwhole)
        return {cell: counts[cell] for cell in expected}


def _note(value: str, seen: set[str], doubled: list[str]) -> None:
    if value in seen:
        doubled.append(value)
    seen.add(value)


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


def _refuse(check: str, rows: list[str]) -> None:
    if rows:
        raise RunError("merge-refused", f"{check}: {', '.join(rows[:5])}{' ...' if len(rows) > 5 else ''}")
