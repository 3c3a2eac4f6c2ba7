"""GPQA: graduate questions with one right and three wrong answers. The user's own CSV: its authors ask that its rows
are not put on the web in plain text, so none come with this program, and the canary string stays with each row.

The four answers are put in an order that is drawn by the seed and the question alone, and is kept in the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from cogumi.evaluate.benchmarks.mmlu import LETTERS, with_choices
from cogumi.evaluate.files import needed, table_rows
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring, hash_of

_RIGHT = "Correct Answer"
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_DIFFICULTY = "Writer's Difficulty Estimate"
_CANARY = "Canary String"
SEED = 42


def read(file: Path, seed: int = SEED) -> Iterator[BenchmarkRow]:
    """Raises InputError benchmark-unreadable, benchmark-columns."""
    rows = table_rows(file)
    header = next(rows, [])
    for cells in rows:
        row = dict(zip(header, cells, strict=False))
        needed(row, ("Question", _RIGHT, *_WRONG), file)
        question, answers = row["Question"], [row[_RIGHT], *(row[name] for name in _WRONG)]
        order = list(range(4))
        Random(f"{seed} {hash_of(question)}").shuffle(order)  # nosec B311 # an order, not a secret
        choices = [answers[place].strip() for place in order]
        more = {
            "question": question, "choices": choices, "order": order, "seed": seed,
            "canary": row.get(_CANARY) or None, "record": row.get("Record ID") or None,
        }  # fmt: skip
        yield BenchmarkRow(
            with_choices(question, choices), (LETTERS[order.index(0)],), "gpqa", "Science", Scoring.CHOICE,
            row.get(_DIFFICULTY) or UNKNOWN, row.get("Subdomain") or row.get("High-level domain") or UNKNOWN, more,
        )  # fmt: skip
