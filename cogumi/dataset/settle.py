"""Settle: from the shards' questions to exactly N a cell, without a duplicate anywhere; and which shards must grow
more.

Cells are filled in a fixed order, so the outcome depends on the shards' results only. A question that stands in two
shards stays in the first; the other shard takes its next spare, or is asked for more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.shards import Grown
from cogumi.domain import Question


@dataclass(slots=True)
class Settled:
    """Questions by shard, and how many each shard still lacks."""

    chosen: dict[str, list[Question]] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    marks: set[str] = field(default_factory=set)


def settle(shards: list[Grown], failed: set[str], known: frozenset[str] = frozenset()) -> Settled:
    """Choose each shard's rows from what it accepted.

    Args:
        failed: fingerprints of questions that could not be answered.
        known: fingerprints that are taken elsewhere, such as earlier versions of the dataset.
    """
    settled = Settled(marks=set(known))
    for grown in shards:
        chosen: list[Question] = []
        for question in grown.accepted:
            if len(chosen) == grown.shard.rows:
                break
            mark = fingerprint(question.text)
            if mark in failed:
                continue
            if mark in settled.marks:
                settled.duplicates += 1
                continue
            settled.marks.add(mark)
            chosen.append(question)
        settled.chosen[grown.shard.name] = chosen
        if len(chosen) < grown.shard.rows:
            settled.short[grown.shard.name] = grown.shard.rows - len(chosen)
    return settled


def number_questions(settled: Settled, shards: list[Grown]) -> dict[str, list[Question]]:
    """Give every chosen question its id, "coding_easy_0001", counting through the shards of a cell."""
    counts: dict[str, int] = {}
    totals: dict[str, int] = {}
    for grown in shards:
        totals[str(grown.shard.cell)] = totals.get(str(grown.shard.cell), 0) + len(settled.chosen[grown.shard.name])
    numbered: dict[str, list[Question]] = {}
    for grown in shards:
        cell = grown.shard.cell
        width = max(4, len(str(totals[str(cell)])))
        rows = []
        for question in settled.chosen[grown.shard.name]:
            counts[str(cell)] = counts.get(str(cell), 0) + 1
            rows.append(question.numbered(f"{cell.domain}_{cell.difficulty}_{counts[str(cell)]:0{width}d}"))
        numbered[grown.shard.name] = rows
    return numbered
