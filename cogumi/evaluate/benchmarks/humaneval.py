"""HumanEval: 164 functions to be completed, with tests. JSON lines with task_id, prompt, entry_point, test and
canonical_solution. Nothing is stripped: the first line of a solution begins with its indent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cogumi.evaluate.files import json_rows, needed
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring

_COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def read(file: Path) -> Iterator[BenchmarkRow]:
    """Raises InputError benchmark-unreadable, benchmark-columns."""
    for row in json_rows(file):
        needed(row, _COLUMNS, file)
        task, prompt, entry, solution, test = (str(row[name]) for name in _COLUMNS)
        yield BenchmarkRow(
            prompt, (solution,), "humaneval", "Coding", Scoring.CODE, UNKNOWN, UNKNOWN,
            {"task_id": task, "entry_point": entry, "test": test},
        )  # fmt: skip
