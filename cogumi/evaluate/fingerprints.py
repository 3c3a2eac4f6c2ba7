"""Fingerprints: whether a file is the benchmark that it is called, by its own questions.

    matches = recognise(rows)                     # best first: [Match("gsm8k", "test", 64, 64)]
    checked = check("gpqa", rows)                 # raises: this GPQA file is GSM8K test

Of every known part the 64 smallest hashes of its questions are kept (a bottom-k sketch, Cohen and Kaplan 2007): a file
that holds the part has all of them, a sample of a tenth has six or so, and another benchmark has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import orjson

from cogumi.errors import InputError
from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring, hash_of

SIZE = 64
_LEAST_HITS = 2
_KIN = {("mgsm", "gsm8k")}
"""The first is translated from the second: its English questions are that one's."""
_MUST_SAY = {"math": ("difficulty", "subject"), "mmlu": ("subject",)}
"""Fields that a benchmark has and a substitute leaves empty."""


@dataclass(frozen=True, slots=True)
class Match:
    """How many hashes of a known part's sketch are among a file's questions."""

    name: str
    part: str
    hits: int
    of: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Rows that can be used, each question once; `part` is the published part that they are, or are from, if known."""

    rows: list[BenchmarkRow]
    part: str
    complete: bool
    repeated: int


def question_of(row: BenchmarkRow) -> str:
    """Without its choices, whose order is no part of it."""
    return str(row.more.get("question") or row.prompt)


def sketch(rows: Iterable[BenchmarkRow]) -> list[str]:
    """The smallest hashes of the questions, sorted."""
    return sorted({hash_of(question_of(row)) for row in rows})[:SIZE]


def recognise(rows: Iterable[BenchmarkRow]) -> list[Match]:
    """Known parts that the questions are of, most hits first."""
    held = {hash_of(question_of(row)) for row in rows}
    matches = [
        Match(name, part, len(held & set(hashes)), len(hashes))
        for name, parts in known().items()
        for part, hashes in parts.items()
    ]
    return sorted((match for match in matches if match.hits), key=lambda match: (-match.hits, match.name, match.part))


def check(name: str, rows: Sequence[BenchmarkRow]) -> Checked:
    """What of a file can be used as this benchmark. There is no silent substitute.

    Raises InputError benchmark-is-another, benchmark-empty, benchmark-code-broken.
    """
    matches = recognise(rows)
    own = next((match for match in matches if match.name == name), None)
    best = matches[0] if matches else None
    if best is not None and best.hits >= _LEAST_HITS and best.name != name and (name, best.name) not in _KIN:
        told = f"this {name.upper()} file is {best.name.upper()} {best.part} ({best.hits} of {best.of} known questions)"
        raise InputError("benchmark-is-another", told)
    _refuse_empty(name, rows)
    for row in rows:
        if row.scoring is Scoring.CODE:
            _refuse_broken(row)
    distinct = _merged(rows)
    part = own.part if own is not None else ""
    complete = len(rows) in BENCHMARKS[name].counts.values() and (own is None or own.hits == own.of)
    return Checked(distinct, part, complete, len(rows) - len(distinct))


def check_together(sources: Mapping[str, Sequence[BenchmarkRow]]) -> None:
    """No question stands in two benchmarks. Raises InputError benchmark-shares-questions."""
    seen: dict[str, str] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for name, rows in sources.items():
        for row in rows:
            other = seen.setdefault(hash_of(question_of(row)), name)
            if other != name and (name, other) not in _KIN and (other, name) not in _KIN:
                shared[other, name] += 1
    if shared:
        told = ", ".join(f"{count} of {one} and {other}" for (one, other), count in shared.items())
        raise InputError("benchmark-shares-questions", told)


@cache
def known() -> dict[str, dict[str, list[str]]]:
    """Sketches by benchmark and part, as they come with the program."""
    file = resources.files("cogumi.evaluate") / "fingerprints.json"
    found: dict[str, dict[str, list[str]]] = orjson.loads(file.read_bytes())
    return found


def _merged(rows: Sequence[BenchmarkRow]) -> list[BenchmarkRow]:
    """Each question once; DROP has some again with other annotators' answers, all of which count."""
    found: dict[str, BenchmarkRow] = {}
    for row in rows:
        held = found.setdefault(row.key, row)
        if held is not row and row.scoring is Scoring.DROP:
            answers = held.more["answers"] + [each for each in row.more["answers"] if each not in held.more["answers"]]
            responses = tuple(dict.fromkeys((*held.responses, *row.responses)))
            found[row.key] = replace(held, responses=responses, more={**held.more, "answers": answers})
    return list(found.values())


def _refuse_empty(name: str, rows: Sequence[BenchmarkRow]) -> None:
    if not rows:
        raise InputError("benchmark-empty", f"{name}: no row")
    without: Counter[str] = Counter()
    for row in rows:
        without["question"] += not question_of(row).strip()
        without["answer"] += not any(response.strip() for response in row.responses)
    for what, count in without.items():
        if count:
            raise InputError("benchmark-empty", f"{name}: {count} of {len(rows)} rows have no {what}")
    for field in _MUST_SAY.get(name, ()):
        values: set[Any] = {getattr(row, field) for row in rows}
        if values == {UNKNOWN}:
            raise InputError("benchmark-empty", f"{name}: {field} is empty throughout")


def _refuse_broken(row: BenchmarkRow) -> None:
    try:
        compile(row.prompt + row.responses[0], row.source, "exec")
    except (SyntaxError, ValueError) as error:
        told = f"{row.more.get('task_id') or row.key}: {error}; was something stripped?"
        raise InputError("benchmark-code-broken", told) from None
