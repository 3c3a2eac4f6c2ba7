"""GSM8K: grade-school maths with worked answers that end in `#### NUMBER`. JSON lines with question and answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cogumi.evaluate.files import json_rows, needed
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring
from cogumi.metrics.answers import last_number

_CALCULATION = re.compile(r"<<[^>]*>>")  # calculator notes, which no reader sees


def read(file: Path) -> Iterator[BenchmarkRow]:
    """Raises InputError benchmark-unreadable, benchmark-columns."""
    for row in json_rows(file):
        needed(row, ("question", "answer"), file)
        answer = str(row["answer"])
        yield BenchmarkRow(
            str(row["question"]), (last_number(answer) or "",), "gsm8k", "Math", Scoring.NUMBER, UNKNOWN, UNKNOWN,
            {"worked": _CALCULATION.sub("", answer)},
        )  # fmt: skip
