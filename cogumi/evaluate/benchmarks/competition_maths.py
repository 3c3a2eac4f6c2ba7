"""MATH: competition problems with solutions whose last balanced \\boxed{...} is the answer. JSON lines with problem,
level, type and solution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cogumi.evaluate.files import json_rows, needed
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring
from cogumi.metrics.answers import boxed

_LEVEL = re.compile(r"Level ([1-5])")
_DIFFICULTY = {"1": "easy", "2": "easy", "3": "medium", "4": "hard", "5": "hard"}


def read(file: Path) -> Iterator[BenchmarkRow]:
    """The subject is its type. Raises InputError benchmark-unreadable, benchmark-columns."""
    for row in json_rows(file):
        needed(row, ("problem", "level", "type", "solution"), file)
        level = _LEVEL.fullmatch(str(row["level"]))
        solution = str(row["solution"])
        yield BenchmarkRow(
            str(row["problem"]), (boxed(solution) or "",), "math", "Math", Scoring.MATHS,
            _DIFFICULTY[level[1]] if level else UNKNOWN, str(row["type"]) or UNKNOWN,
            {"level": int(level[1]) if level else None, "worked": solution},
        )  # fmt: skip
