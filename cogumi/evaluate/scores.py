"""Scores: what one model did on each row of a suite, as a file and as figures.

scores = read_scores(Path("scores/merged/scores.jsonl"))
figures(scores)        # {"nll", "ppl", "bits_per_byte", "accuracy", "ci95", "n", "outcomes", ...}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cogumi.errors import InputError
from cogumi.evaluate.judging import Outcome
from cogumi.evaluate.perplexity import total
from cogumi.evaluate.row import BenchmarkRow
from cogumi.metrics.statistics import wilson
from cogumi.store.files import read_jsonl

SCORES = "scores.jsonl"


@dataclass(frozen=True, slots=True)
class RowScore:
    """Of one row: nats of its reference (None where it is too long), and what became of the model's answer (`right` is
    None where nothing could tell). `size` is the reference in bytes; `cluster` names rows that are alike.
    """

    key: str
    source: str
    domain: str
    difficulty: str
    subject: str
    cluster: str
    nats: float | None
    tokens: int
    size: int
    right: bool | None
    score: float
    outcome: str
    detail: str
    answer: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one model, in the suite's order."""

    name: str
    rows: list[RowScore]

    def by_key(self) -> dict[str, RowScore]:
        return {row.key: row for row in self.rows}


def cluster_of(row: BenchmarkRow) -> str:
    """Rows that are alike: DROP's questions on one passage, MMLU's of one subject; else each is by itself."""
    if row.source == "mmlu":
        return f"mmlu/{row.subject}"
    return str(row.more.get("cluster") or row.key)


def figures(rows: Sequence[RowScore]) -> dict[str, Any]:
    """Of some rows: likelihood where it was read, accuracy with Wilson's interval where it was judged."""
    read = total((row.nats, row.tokens, row.size) for row in rows if row.nats is not None)
    judged = [row for row in rows if row.right is not None]
    right = sum(bool(row.right) for row in judged)
    outcomes = Counter(row.outcome for row in rows)
    graded = [row.score for row in judged if row.source == "drop"]
    return {
        "nll": read.nll if read else None,
        "ppl": read.ppl if read else None,
        "bits_per_byte": read.bits_per_byte if read else None,
        "tokens": read.tokens if read else 0,
        "accuracy": right / len(judged) if judged else None,
        "ci95": list(wilson(right, len(judged))) if judged else None,
        "n": len(judged),
        "rows": len(rows),
        "too_long": sum(row.nats is None for row in rows),
        "outcomes": {str(outcome): outcomes[outcome] for outcome in Outcome if outcomes[outcome]},
        **({"f1": sum(graded) / len(graded)} if graded else {}),
    }


def by(rows: Iterable[RowScore], part: Callable[[RowScore], str]) -> dict[str, dict[str, Any]]:
    """Figures of each part, by name."""
    groups: dict[str, list[RowScore]] = {}
    for row in rows:
        groups.setdefault(part(row), []).append(row)
    return {name: figures(members) for name, members in sorted(groups.items())}


def routed(name: str, chosen: Mapping[str, str], models: Mapping[str, Scores]) -> Scores:
    """A system that asks one of several models for each row: `chosen` says which, by the row's key.

    Raises InputError scores-differ where a row has no choice, or the model has no score of it.
    """
    held = {model: scores.by_key() for model, scores in models.items()}
    keys = list(next(iter(held.values()))) if held else []
    try:
        return Scores(name, [held[chosen[key]][key] for key in keys])
    except KeyError as error:
        raise InputError("scores-differ", f"{name}: no choice or no score of {error}") from None


def to_json(scores: Scores) -> Iterable[dict[str, Any]]:
    """A line a row."""
    return (asdict(row) for row in scores.rows)


def read_scores(file: Path, name: str = "") -> Scores:
    """Raises InputError scores-differ where the file is none of ours."""
    try:
        return Scores(name or file.parent.name, [RowScore(**row) for row in read_jsonl(file)])
    except (OSError, TypeError) as error:
        raise InputError("scores-differ", f"{file}: {error}") from None
