"""MGSM: 250 questions of GSM8K's test set in ten languages. TSV without a header: question, number. The language is in
the file's name (mgsm_de.tsv); a folder is all of its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cogumi.errors import InputError
from cogumi.evaluate.files import table_rows
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring

_NAME = re.compile(r"_([a-z]{2})\.tsv")


def read(place: Path) -> Iterator[BenchmarkRow]:
    """The subject is the language. Raises InputError benchmark-unreadable, benchmark-columns."""
    for file in sorted(place.glob("*.tsv")) if place.is_dir() else [place]:
        named = _NAME.search(file.name)
        for number, cells in enumerate(table_rows(file, "\t"), 1):
            if len(cells) != 2:
                raise InputError("benchmark-columns", f"{file}, line {number}: {len(cells)} columns, not 2")
            yield BenchmarkRow(
                cells[0], (cells[1].replace(",", "").strip(),), "mgsm", "Math", Scoring.NUMBER, UNKNOWN,
                named[1] if named else UNKNOWN, {},
            )  # fmt: skip
