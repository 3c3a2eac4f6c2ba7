"""Settle: from the shards' questions to exactly N a cell, without a duplicate anywhere; and which shards must grow
more.

Cells are filled in a fixed order, so the outcome depends on the shards' results only. A question that stands in two
shards stays in the first; the other shard takes its next spare, or is asked for more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cogumi.dataset.shards import Shard
from cogumi.dataset.tally import GrownTally


@dataclass(slots=True)
class Settled:
    """Chosen questions by shard, as fingerprints, and how many each shard still lacks."""

    chosen: dict[str, list[str]] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    marks: set[str] = field(default_factory=set)


def settle(shards: list[GrownTally], failed: set[str], known: frozenset[str] = frozenset()) -> Settled:
    """Choose each shard's rows from what it accepted.

    Args:
        failed: fingerprints of questions that could not be answered.
        known: fingerprints that are taken elsewhere, such as earlier versions of the dataset.
    """
    settled = Settled(marks=set(known))
    for grown in shards:
        chosen: list[str] = []
        for mark in grown.marks:
            if len(chosen) == grown.shard.rows:
                break
            if mark in failed:
                continue
            if mark in settled.marks:
                settled.duplicates += 1
                continue
            settled.marks.add(mark)
            chosen.append(mark)
        settled.chosen[grown.shard.name] = chosen
        if len(chosen) < grown.shard.rows:
            settled.short[grown.shard.name] = grown.shard.rows - len(chosen)
    return settled


def numbering(settled: Settled, shards: list[Shard]) -> dict[str, tuple[int, int]]:
    """By shard the number of its first chosen question, counting through the shards of a cell, and the digits."""
    totals: Counter[str] = Counter()
    firsts: dict[str, int] = {}
    for shard in shards:
        firsts[shard.name] = totals[str(shard.cell)] + 1
        totals[str(shard.cell)] += len(settled.chosen[shard.name])
    return {shard.name: (firsts[shard.name], max(4, len(str(totals[str(shard.cell)])))) for shard in shards}
