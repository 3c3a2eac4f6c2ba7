"""Samples side by side, picked by rule and not by hand: the largest gains, the largest losses, and some by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from cogumi.evaluate.row import BenchmarkRow
from cogumi.evaluate.scores import RowScore, Scores

_MOST_LETTERS = 2000


def pick_samples(
    one: Scores, other: Scores, rows: Sequence[BenchmarkRow], count: int, seed: int = 0
) -> list[dict[str, Any]]:
    """`count` of each kind, no row twice. A gain is one of score first, then of bits a byte; ties go by the key."""
    mine, theirs = one.by_key(), other.by_key()
    gains = {row.key: _gain(mine[row.key], theirs[row.key]) for row in rows}
    ordered = sorted(gains, key=lambda key: (gains[key], key))
    taken: dict[str, str] = {}
    for key in reversed(ordered):
        if len(taken) < count and gains[key] > (0.0, 0.0):
            taken[key] = "largest gain"
    lost = [key for key in ordered if key not in taken and gains[key] < (0.0, 0.0)][:count]
    taken |= dict.fromkeys(lost, "largest loss")
    left = sorted(set(gains) - set(taken))
    drawn = Random(f"{seed} samples").sample(left, min(count, len(left)))  # nosec B311 # which rows, not a secret
    taken |= dict.fromkeys(drawn, "by chance")
    asked = {row.key: row for row in rows}
    return [_shown(why, asked[key], {one.name: mine[key], other.name: theirs[key]}) for key, why in taken.items()]


def _gain(mine: RowScore, theirs: RowScore) -> tuple[float, float]:
    if mine.nats is None or theirs.nats is None or not mine.size:
        return mine.score - theirs.score, 0.0
    return mine.score - theirs.score, (theirs.nats - mine.nats) / mine.size


def _shown(why: str, row: BenchmarkRow, scores: Mapping[str, RowScore]) -> dict[str, Any]:
    return {
        "why": why, "key": row.key, "source": row.source, "domain": row.domain, "difficulty": row.difficulty,
        "prompt": row.prompt[:_MOST_LETTERS], "right": row.responses[0][:_MOST_LETTERS],
        "answers": {
            name: {"answer": found.answer[:_MOST_LETTERS], "outcome": found.outcome,
                   "nats_a_token": found.nats / found.tokens if found.nats is not None and found.tokens else None}
            for name, found in scores.items()
        },
    }  # fmt: skip
