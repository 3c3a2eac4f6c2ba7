"""Suite: the rows that models are validated on, of benchmarks at hand, of the dataset's test part, and drawn anew.

    suite = build_suite(recipe.validation, dataset, form="plain")
    write_suite(Path("suite"), suite)            # validation_test.jsonl
    rows = read_suite(Path("suite/validation_test.jsonl"))

Fresh rows are questions of the procedural families with other numbers and words than any row of the dataset: a model
cannot have seen them, and a program knows their answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from cogumi.domain import Difficulty
from cogumi.domain.cells import DOMAINS
from cogumi.errors import InputError
from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.evaluate.files import json_rows
from cogumi.evaluate.fingerprints import Checked, check, check_together
from cogumi.evaluate.row import BenchmarkRow, Scoring, hash_of
from cogumi.evaluate.sample import stratified
from cogumi.lm.chat import FORMATS, response_text
from cogumi.recipe import ValidationSection
from cogumi.store.files import read_jsonl, write_jsonl
from cogumi.teachers.procedural import Task, by_domain

SUITE = "validation_test.jsonl"
HELD_OUT, FRESH, RANKED = "held-out", "fresh", "ranked"
_TRIES = 40
_OPTIONS = 4


@dataclass(frozen=True, slots=True)
class Suite:
    """Rows, each question once, and of each source what is known of it."""

    rows: list[BenchmarkRow]
    sources: dict[str, dict[str, Any]]


def build_suite(
    section: ValidationSection,
    dataset: Path | None = None,
    form: str = "plain",
    domains: Sequence[str] = tuple(DOMAINS),
    checked: Mapping[str, Checked] | None = None,
) -> Suite:
    """`form` is the chat format of the dataset, `domains` those of fresh rows; `checked` are the section's benchmarks
    where they have been read before.

    Raises InputError benchmark-*, suite-empty.
    """
    chosen: dict[str, list[BenchmarkRow]] = {}
    told: dict[str, dict[str, Any]] = {}
    for name, found in (open_benchmarks(section.benchmarks) if checked is None else checked).items():
        chosen[name] = stratified(found.rows, section.rows, section.seed)
        told[name] = {
            "rows": len(chosen[name]), "of": len(found.rows), "part": found.part, "complete": found.complete,
            "licence": BENCHMARKS[name].licence,
        }  # fmt: skip
    check_together(chosen)
    if dataset is not None:
        held = list(held_out_rows(dataset, form))
        chosen[HELD_OUT] = stratified(held, section.held_out_rows, section.seed) if section.held_out_rows else []
        taken = _questions(dataset)
        chosen[FRESH] = fresh_rows(section.fresh_rows, section.seed, taken, domains)
        taken |= {hash_of(row.prompt) for row in chosen[FRESH]}
        chosen[RANKED] = ranked_rows(section.ranked_rows, section.seed, taken, domains)
        told[HELD_OUT] = {"rows": len(chosen[HELD_OUT]), "of": len(held)}
        told |= {name: {"rows": len(chosen[name])} for name in (FRESH, RANKED)}
    rows = list({row.key: row for part in chosen.values() for row in part}.values())
    if not rows:
        raise InputError("suite-empty", "validation")
    return Suite(rows, {name: facts for name, facts in told.items() if facts["rows"]})


def open_benchmarks(named: Mapping[str, str]) -> dict[str, Checked]:
    """Checked rows by benchmark; ~ and $VARIABLES in a path are filled in. Raises InputError benchmark-*."""
    return {name: check(name, list(BENCHMARKS[name].read(place))) for name, place in benchmark_files(named).items()}


def benchmark_files(named: Mapping[str, str]) -> dict[str, Path]:
    """Raises InputError benchmark-unknown, benchmark-unreadable where a file is not there."""
    found = {name: Path(os.path.expandvars(place)).expanduser() for name, place in named.items()}
    for name, place in found.items():
        if name not in BENCHMARKS:
            raise InputError("benchmark-unknown", f"{name!r}; there are {', '.join(BENCHMARKS)}")
        if not place.exists():
            raise InputError("benchmark-unreadable", f"{place}: there is nothing")
    return found


def held_out_rows(dataset: Path, form: str) -> Iterator[BenchmarkRow]:
    """The dataset's own test part, which nothing was trained on; the reference is what its teacher said."""
    file = dataset / "test.jsonl"
    for row in read_jsonl(file) if file.is_file() else ():
        told = row["metadata"]
        reference = response_text(row["response"], row.get("draft"), row.get("thinking"), FORMATS[form])
        yield BenchmarkRow(
            str(row["prompt"]), (str(row["response"]),), HELD_OUT, str(told["domain"]), Scoring.VERIFIED,
            str(told["difficulty"]), str(told["task_type"]), {"worked": reference},
        )  # fmt: skip


def fresh_rows(count: int, seed: int, taken: set[str], domains: Sequence[str]) -> list[BenchmarkRow]:
    """So many questions of the families, of all domains and both difficulties in turn, none of which is `taken` (hashes
    of questions). Fewer where the families have no more.
    """
    chance = Random(f"{seed} {FRESH}")  # nosec B311 # which questions, not a secret
    return [_row(drawn, FRESH, Scoring.VERIFIED, {}) for drawn in _drawn(count, chance, set(taken), domains)]


def ranked_rows(count: int, seed: int, taken: set[str], domains: Sequence[str]) -> list[BenchmarkRow]:
    """As fresh_rows; the right answer among up to four, the wrong ones as a person errs. It tells models apart that
    cannot answer yet.
    """
    chance = Random(f"{seed} {RANKED}")  # nosec B311 # which questions, not a secret
    found: list[BenchmarkRow] = []
    for drawn in _drawn(2 * count, chance, set(taken), domains):
        wrong = dict.fromkeys(drawn.task.wrong_answer(chance) for _ in range(_TRIES))
        others = [answer for answer in wrong if answer.strip() != drawn.task.solution.answer.strip()][: _OPTIONS - 1]
        if others and len(found) < count:
            choices = [drawn.task.solution.answer, *others]
            chance.shuffle(choices)
            found.append(_row(drawn, RANKED, Scoring.RANKED, {"choices": choices}))
    return found


@dataclass(frozen=True, slots=True)
class _Drawn:
    domain: str
    difficulty: Difficulty
    task: Task


def _drawn(count: int, chance: Random, taken: set[str], domains: Sequence[str]) -> Iterator[_Drawn]:
    families = {domain: list(by_domain(domain)) for domain in domains}
    turns = [(domain, difficulty) for difficulty in Difficulty for domain, members in families.items() if members]
    given = empty = 0
    while turns and given < count and empty < _TRIES * len(turns):
        domain, difficulty = turns[(given + empty) % len(turns)]
        task = chance.choice(families[domain]).generate(chance, difficulty)
        name = hash_of(task.question)
        if name in taken:
            empty += 1
            continue
        taken.add(name)
        given += 1
        yield _Drawn(domain, difficulty, task)


def _row(drawn: _Drawn, source: str, scoring: Scoring, more: dict[str, Any]) -> BenchmarkRow:
    task = drawn.task
    return BenchmarkRow(
        task.question, (task.solution.answer,), source, DOMAINS[drawn.domain], scoring, str(drawn.difficulty),
        task.family.name, more,
    )  # fmt: skip


def write_suite(file: Path, rows: Sequence[BenchmarkRow]) -> str:
    """One JSON line a row; returns the file's SHA-256."""
    return write_jsonl(file, (row.to_json() for row in rows))


def read_suite(file: Path) -> list[BenchmarkRow]:
    """What `write_suite` or `cogumi benchmarks sample` has written.

    Raises InputError benchmark-unreadable, suite-unreadable, suite-empty.
    """
    if not file.is_file():
        raise InputError("suite-unreadable", f"{file}: there is none")
    rows = [BenchmarkRow.from_json(row) for row in json_rows(file)]
    if not rows:
        raise InputError("suite-empty", str(file))
    return rows


def _questions(dataset: Path) -> set[str]:
    parts = (dataset / f"{part}.jsonl" for part in ("train", "validation", "test"))
    return {hash_of(str(row["prompt"])) for file in parts if file.is_file() for row in read_jsonl(file)}
