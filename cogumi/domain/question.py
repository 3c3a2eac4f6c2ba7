"""Question, Judgement, Rejected: what the first half of the dataset stage passes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from sys import intern
from typing import Any

from cogumi.domain.cells import Cell, Difficulty
from cogumi.domain.traits import Traits

_REPEATED = ("topic", "generated_by", "timestamp", "request_key")  # shared by many rows: kept once each


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judge's four scores, 0-10 each (spec section 1.2), and the ledger key of the reply that holds them."""

    clarity: float
    relevance: float
    difficulty: float
    quality: float
    judged_by: str
    request_key: str

    @property
    def mean(self) -> float:
        return (self.clarity + self.relevance + self.difficulty + self.quality) / 4


@dataclass(frozen=True, slots=True)
class Question:
    """A question, where it came from, and how it was judged.

    `request_key` names the ledger row of the reply it was read from; `question_id` is empty until the
    question has been accepted into a cell.
    """

    text: str
    cell: Cell
    topic: str
    generated_by: str
    request_key: str
    timestamp: str
    question_id: str = ""
    judgement: Judgement | None = None
    traits: Traits | None = None

    def judged(self, judgement: Judgement, traits: Traits | None = None) -> Question:
        return replace(self, judgement=judgement, traits=traits)

    def numbered(self, question_id: str) -> Question:
        return replace(self, question_id=question_id)

    def to_json(self) -> dict[str, Any]:
        row = asdict(self)
        cell = row.pop("cell")
        return {**row, "domain": cell["domain"], "difficulty": str(cell["difficulty"])}

    def content(self) -> dict[str, Any]:
        """Of an existing question: everything but when its file was read, and what it is called."""
        return {**self.to_json(), "timestamp": "", "generated_by": ""}

    @staticmethod
    def from_json(row: dict[str, Any]) -> Question:
        fields = {**row, **_interned({name: row[name] for name in _REPEATED})}
        cell = Cell(intern(fields.pop("domain")), Difficulty(fields.pop("difficulty")))
        judgement, traits = fields.pop("judgement"), fields.pop("traits", None)
        return Question(
            cell=cell,
            judgement=Judgement(**_interned(judgement)) if judgement else None,
            traits=Traits(**_interned(traits)) if traits else None,
            **fields,
        )


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something paid for that is not used, and why. The raw reply stays in the ledger under `request_key`."""

    reason: str
    request_key: str
    text: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @staticmethod
    def from_json(row: dict[str, str]) -> Rejected:
        return Rejected(**row)


def _interned(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose texts are kept once for all rows that share them."""
    return {name: intern(value) if isinstance(value, str) else value for name, value in row.items()}


def utc(unix_time: float) -> str:
    """A timestamp as rows hold it: ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="seconds")
