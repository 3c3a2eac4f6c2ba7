"""MMLU: four choices over 57 subjects, a CSV each, named by its subject (abstract_algebra_test.csv). A folder is all of
its files. Two forms go round: the authors', without a header and with the answer as a letter; and one with a header,
every cell but the answer (0 to 3) in quotes, and quotes inside cells as they are, which no reader of CSV gets right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cogumi.errors import InputError
from cogumi.evaluate.files import read_text, table_rows
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring

LETTERS = "ABCD"
_HEADER = "question,A,B,C,D,answer"
_RECORD = re.compile(r'^"(.*?)",([0-3])\r?$', re.MULTILINE | re.DOTALL)
_PARTS = ("_test", "_val", "_dev")


def read(place: Path) -> Iterator[BenchmarkRow]:
    """Difficulty is unknown: the benchmark has none. Raises InputError benchmark-unreadable, benchmark-columns."""
    for file in sorted(place.glob("*.csv")) if place.is_dir() else [place]:
        subject = file.name.partition(".")[0]
        for part in _PARTS:
            subject = subject.removesuffix(part)
        for question, choices, answer in _records(file):
            yield BenchmarkRow(
                with_choices(question, choices), (answer,), "mmlu", "Knowledge", Scoring.CHOICE, UNKNOWN, subject,
                {"question": question, "choices": choices},
            )  # fmt: skip


def with_choices(question: str, choices: list[str]) -> str:
    """The question and its choices by letter, as they are asked."""
    return question + "".join(f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True))


def _records(file: Path) -> Iterator[tuple[str, list[str], str]]:
    """(question, choices, letter) of either form."""
    text = read_text(file)
    header, _, rest = text.partition("\n")
    if header.strip() == _HEADER:
        yield from _with_header(file, rest)
        return
    for number, cells in enumerate(table_rows(file), 1):
        if len(cells) != 6 or cells[5].strip() not in tuple(LETTERS):
            raise InputError("benchmark-columns", f"{file}, row {number}: not a question, four choices and A to D")
        yield cells[0], cells[1:5], cells[5].strip()


def _with_header(file: Path, rest: str) -> Iterator[tuple[str, list[str], str]]:
    read_until = 0
    for record in _RECORD.finditer(rest):
        cells = record[1].split('","')
        if len(cells) != 5 or rest[read_until : record.start()].strip():
            raise InputError("benchmark-columns", f"{file}: not a question and four choices: {record[0][:80]!r}")
        read_until = record.end()
        yield cells[0], cells[1:], LETTERS[int(record[2])]
    if rest[read_until:].strip():
        raise InputError("benchmark-columns", f"{file}: not a question and four choices: {rest[read_until:][:80]!r}")
