"""Shards: the pieces of a cell that are worked on at once, each small enough for one task to redo cheaply."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cogumi.domain import Cell, Difficulty, Example, Question, Rejected
from cogumi.errors import InputError, StorageError
from cogumi.recipe import DatasetSection
from cogumi.store.files import write_atomic

Pointer = dict[str, Any]
"""Where a shard's result lies, `path` in the run's shards folder, its `sha256`, and counts; all that tasks pass on."""


@dataclass(frozen=True, slots=True)
class Shard:
    """`rows` questions wanted of one cell. Its name is also that of its Prefect tasks and files."""

    cell: Cell
    index: int
    rows: int

    @property
    def name(self) -> str:
        return f"{self.cell.domain}-{self.cell.difficulty}-{self.index:05d}"

    def to_json(self) -> dict[str, Any]:
        return {"cell": str(self.cell), "index": self.index, "rows": self.rows}

    @staticmethod
    def from_json(row: dict[str, Any]) -> Shard:
        return Shard(Cell.parse(row["cell"]), row["index"], row["rows"])


@dataclass(slots=True)
class Grown:
    """The questions a shard ended up with, and everything on the way there."""

    shard: Shard
    accepted: list[Question] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    duplicates: int = 0
    asked: int = 0  # questions that came back, before any check
    rounds: int = 0
    hidden_right: int = 0
    hidden_seen: int = 0
    hidden_missed: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "shard": self.shard.to_json(),
            "accepted": [question.to_json() for question in self.accepted],
            "rejected": [row.to_json() for row in self.rejected],
            "duplicates": self.duplicates,
            "asked": self.asked,
            "rounds": self.rounds,
            "hidden_right": self.hidden_right,
            "hidden_seen": self.hidden_seen,
            "hidden_missed": self.hidden_missed,
        }

    @staticmethod
    def from_json(row: dict[str, Any]) -> Grown:
        fields = dict(row)
        fields["shard"] = Shard.from_json(fields["shard"])
        fields["accepted"] = [Question.from_json(item) for item in fields["accepted"]]
        fields["rejected"] = [Rejected.from_json(item) for item in fields["rejected"]]
        return Grown(**fields)


@dataclass(slots=True)
class Answered:
    """The examples made from a list of questions; questions whose answers all failed are in `rejected`."""

    name: str
    examples: list[Example] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    retried: dict[str, int] = field(default_factory=dict)  # reason -> replies bought again
    failed: list[Question] = field(default_factory=list)

    @property
    def shard_name(self) -> str:
        """The shard whose questions these answer: the order's name is answer-SHARD or answer-SHARD-more-PASS."""
        return self.name.removeprefix("answer-").split("-more-")[0]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "examples": [example.to_json() for example in self.examples],
            "rejected": [row.to_json() for row in self.rejected],
            "retried": self.retried,
            "failed": [question.to_json() for question in self.failed],
        }

    @staticmethod
    def from_json(row: dict[str, Any]) -> Answered:
        fields = dict(row)
        fields["examples"] = [Example.from_json(item) for item in fields["examples"]]
        fields["rejected"] = [Rejected.from_json(item) for item in fields["rejected"]]
        fields["failed"] = [Question.from_json(item) for item in fields["failed"]]
        return Answered(**fields)


def given_shards(
    by_cell: dict[Cell, list[Question]], size: int, first: int = 0
) -> Iterator[tuple[Shard, tuple[Question, ...]]]:
    """Existing questions in shards of at most `size`, in the order given; numbers count from `first` in each cell."""
    for cell, rows in by_cell.items():
        for index, start in enumerate(range(0, len(rows), size)):
            part = tuple(rows[start : start + size])
            yield Shard(cell, first + index, len(part)), part


def plan_shards(section: DatasetSection, taken: dict[str, int] | None = None) -> list[Shard]:
    """The shards of a recipe, in the order of its cells; sizes differ by at most one row.

    Args:
        taken: rows by cell that come from elsewhere. Raises InputError augment-unreadable where that is too many.
    """
    shards: list[Shard] = []
    left = {cell: count for cell, count in (taken or {}).items() if count}
    for domain, counts in section.cells.items():
        for difficulty in Difficulty:
            rows = counts.get(difficulty.value, 0) - left.pop(f"{domain}/{difficulty}", 0)
            if rows < 0:
                raise InputError("augment-unreadable", f"{domain}/{difficulty}: {-rows} rows more than the cell holds")
            pieces = -(-rows // section.shard_rows)
            sizes = [rows // pieces + (i < rows % pieces) for i in range(pieces)] if pieces else []
            shards += [Shard(Cell(domain, difficulty), index, size) for index, size in enumerate(sizes)]
    if left:
        raise InputError("augment-unreadable", f"the recipe has no cell {', '.join(sorted(left))}")
    return shards


def save(path: Path, value: Grown | Answered) -> Pointer:
    """Write a shard's result; the pointer returned is all that passes through Prefect."""
    sha256 = write_atomic(path, orjson.dumps(value.to_json(), option=orjson.OPT_SORT_KEYS))
    return {"path": path.name, "sha256": sha256}


def load_grown(folder: Path, pointer: Pointer) -> Grown | None:
    """What a pointer leads to, or None where the file is gone or not what the pointer says."""
    content = _intact(folder, pointer)
    return None if content is None else Grown.from_json(orjson.loads(content))


def load_answered(folder: Path, pointer: Pointer) -> Answered | None:
    """As `load_grown`, for answers."""
    content = _intact(folder, pointer)
    return None if content is None else Answered.from_json(orjson.loads(content))


def read_grown(folder: Path, pointer: Pointer) -> Grown:
    """As `load_grown`. Raises StorageError shard-damaged instead of returning None."""
    grown = load_grown(folder, pointer)
    if grown is None:
        raise _damaged(folder, pointer)
    return grown


def read_answered(folder: Path, pointer: Pointer) -> Answered:
    """As `read_grown`, for answers."""
    answered = load_answered(folder, pointer)
    if answered is None:
        raise _damaged(folder, pointer)
    return answered


def _damaged(folder: Path, pointer: Pointer) -> StorageError:
    return StorageError("shard-damaged", str(folder / pointer["path"]))


def _intact(folder: Path, pointer: Pointer) -> bytes | None:
    path = folder / pointer["path"]
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.sha256(content).hexdigest() == pointer["sha256"] else None
