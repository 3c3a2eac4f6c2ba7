"""Existing questions instead of stage 1: read, cleaned, checked; broken rows are quarantined by file and line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.parse import LEAST_CHARACTERS, MOST_CHARACTERS, clean
from cogumi.domain import DIFFICULTIES, Cell, Difficulty, Question, utc
from cogumi.domain.cells import domain_key, unknown_domains
from cogumi.errors import InputError
from cogumi.metrics.formatting import counted
from cogumi.recipe import GivenSection, hash_all
from cogumi.store.files import Quarantined, read_foreign_json, read_foreign_jsonl, write_jsonl

_NO_DEFAULTS = GivenSection()
_TEXT_KEYS = ("question", "prompt", "instruction", "text")
_MOST_NAMED = 10
_LONGEST_NAME = 40
_UNKNOWN_DOMAIN = "unknown-domain"
_REASONS = {
    "not-json": "row{s} of broken JSON",
    "not-an-object": "row{s} without a JSON object",
    "not-an-array": "file{s} without a JSON array",
    "line-too-long": "row{s} of more than 1 MiB",
    "no-question": "row{s} without a question",
    "too-short": f"row{{s}} with a question of less than {LEAST_CHARACTERS} characters",
    "too-long": f"row{{s}} with a question of more than {MOST_CHARACTERS:,} characters",
    "no-domain": "row{s} without a domain",
    _UNKNOWN_DOMAIN: "row{s} of an unknown domain",
    "no-difficulty": "row{s} without a difficulty",
    "unknown-difficulty": f"row{{s}} of an unknown difficulty (known: {', '.join(DIFFICULTIES)})",
}
"""Why a row is quarantined, in words."""


@dataclass(slots=True)
class Given:
    """Usable questions, lines that are not, and exact duplicates left out."""

    questions: list[Question] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    duplicates: int = 0
    rows: int = 0
    unknown_domains: Counter[str] = field(default_factory=Counter)  # rows by the name that is no domain's

    @property
    def summary(self) -> str:
        """How many questions and a hash of what is asked: "80 questions (3f2a9c01d4e5)". When a file was read, what it
        is called, and rows that are left out are not among it.
        """
        digest = hash_all(question.content() for question in self.questions)
        return f"{counted(len(self.questions), 'question')} ({digest[:12]})"

    def reasons(self) -> dict[str, int]:
        return dict(Counter(row.reason for row in self.quarantined).most_common())

    def described(self) -> str:
        """The reasons in words, most frequent first, with the names of unknown domains and the known ones."""
        told = [f"{n:,} {_REASONS[reason].format(s='' if n == 1 else 's')}" for reason, n in self.reasons().items()]
        names = [name for name, _ in self.unknown_domains.most_common(_MOST_NAMED)]
        more = len(self.unknown_domains) - len(names)
        if names:
            told.append(unknown_domains([*names, f"and {more} more"] if more else names))
        return "; ".join(told) or "the files hold no row"


def read_questions(paths: list[Path], defaults: GivenSection = _NO_DEFAULTS) -> Given:
    """Read .jsonl and .json files, or those of folders, in name order. Rows of a .json array count as its lines.

    An `input` beside an `instruction` is part of the question. Raises InputError questions-unreadable where a path is
    missing or no question is usable, domain-unknown where that is why none is.
    """
    given = Given()
    seen: set[str] = set()
    for path in _files(paths):
        read_at = utc(path.stat().st_mtime)
        for found in read_foreign_json(path) if path.suffix == ".json" else read_foreign_jsonl(path):
            given.rows += 1
            if isinstance(found, Quarantined):
                given.quarantined.append(found)
                continue
            number, row = found
            question = _question(path, number, row, read_at, defaults)
            if isinstance(question, Quarantined):
                given.quarantined.append(question)
                if question.reason == _UNKNOWN_DOMAIN:
                    given.unknown_domains[_domain_of(row, defaults)[:_LONGEST_NAME]] += 1
            elif (mark := fingerprint(question.text)) in seen:
                given.duplicates += 1
            else:
                seen.add(mark)
                given.questions.append(question)
    if not given.questions:
        code = "domain-unknown" if given.reasons().keys() == {_UNKNOWN_DOMAIN} else "questions-unreadable"
        raise InputError(code, f"{counted(given.rows, 'row')} read, none usable: {given.described()}")
    return given


def write_quarantine(path: Path, given: Given) -> None:
    """One line a quarantined row: file, line number, reason, and the start of the row."""
    rows = ({"file": Path(q.file).name, "line": q.line, "reason": q.reason, "text": q.text} for q in given.quarantined)
    write_jsonl(path, rows)


def _files(paths: list[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        inside = sorted((*path.glob("*.jsonl"), *path.glob("*.json"))) if path.is_dir() else [path]
        files += [file for file in inside if file.is_file()]
        if not inside or not all(file.is_file() for file in inside):
            raise InputError("questions-unreadable", f"{path}: no such file, or a folder without .jsonl or .json files")
    return files


def _question(
    path: Path, number: int, row: dict[str, Any], read_at: str, defaults: GivenSection
) -> Question | Quarantined:
    text = next((row[key] for key in _TEXT_KEYS if key in row), None)

    def bad(reason: str) -> Quarantined:
        return Quarantined(str(path), number, reason, orjson.dumps(row).decode()[:400])

    if not isinstance(text, str):
        return bad("no-question")
    more = row.get("input")
    text = clean(f"{text}\n\n{more}" if isinstance(more, str) and more.strip() else text)
    if len(text) < LEAST_CHARACTERS:
        return bad("too-short")
    if len(text) > MOST_CHARACTERS:
        return bad("too-long")
    named = _domain_of(row, defaults)
    domain = domain_key(named)
    if domain is None:
        return bad(_UNKNOWN_DOMAIN if named else "no-domain")
    difficulty = str(row.get("difficulty") or defaults.difficulty or "").lower()
    if difficulty not in DIFFICULTIES:
        return bad("unknown-difficulty" if difficulty else "no-difficulty")
    cell = Cell(domain, Difficulty(difficulty))
    made_by = str(row.get("model_used") or row.get("generated_by") or path.name)
    return Question(text, cell, str(row.get("topic", "")), made_by, "", str(row.get("generated_at") or read_at))


def _domain_of(row: dict[str, Any], defaults: GivenSection) -> str:
    """What the row calls its domain, or the recipe's; "" where neither names one."""
    return str(row.get("domain") or defaults.domain or "").strip()
