"""The rows a report shows, read from the dataset's files in one pass, so that a large dataset needs no more memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path
from random import Random
from typing import Any

from cogumi.dataset.export import NEAR_DUPLICATES, count_label
from cogumi.store.files import read_jsonl
from cogumi.store.ledger import Ledger

SAMPLE_ROWS = 20
_MOST_CLUSTERS, _MOST_MEMBERS = 20, 10
_SHOWN_CHARACTERS = 1500
_PARTS = ("question", "judge", "answer")


@dataclass(slots=True)
class ReportRows:
    """20 random rows, the 20 that the judge liked least, near-duplicate clusters, and all lengths in characters."""

    random: list[dict[str, Any]] = field(default_factory=list)
    worst: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    cluster_count: int = 0
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {"question": Counter(), "answer": Counter()})


def read_rows(folder: Path, count: int, ledger: Ledger) -> ReportRows:
    """Rows of a run folder whose dataset holds `count`; empty where there is none yet."""
    shown = ReportRows()
    path = folder / "dataset" / f"training_{count_label(count)}_complete.jsonl"
    if not path.is_file():
        return shown
    drawn = Random(0).sample(range(count), min(SAMPLE_ROWS, count))
    picked: dict[int, dict[str, Any]] = {}

    def passing() -> Iterator[dict[str, Any]]:
        wanted = set(drawn)
        for place, row in enumerate(read_jsonl(path)):
            for name, seen in shown.lengths.items():
                seen[len(row[name])] += 1
            if place in wanted:
                picked[place] = row
            yield row

    worst = nsmallest(SAMPLE_ROWS, passing(), key=lambda row: row["metadata"]["judge_mean"])
    random = [picked[place] for place in drawn]
    attempts = _attempts(ledger, {row["metadata"][f"{part}_request_key"] for row in random + worst for part in _PARTS})
    shown.random = [_shown(row, attempts) for row in random]
    shown.worst = [_shown(row, attempts) for row in worst]
    shown.cluster_count, shown.clusters = _clusters(folder / "dataset" / NEAR_DUPLICATES)
    return shown


def _clusters(path: Path) -> tuple[int, list[dict[str, Any]]]:
    """How many clusters there are, and the largest: the row that was kept, and those left out for it."""
    if not path.is_file():
        return 0, []
    clusters: dict[str, dict[str, Any]] = {}
    for row in read_jsonl(path):
        cluster = clusters.setdefault(
            row["kept"],
            {"id": row["kept_question_id"] or "an earlier version", "kept": "", "size": 0, "members": []},
        )
        cluster["kept"] = row["kept"][:_SHOWN_CHARACTERS]
        cluster["size"] += 1
        if cluster["size"] <= _MOST_MEMBERS:
            text = row["question"][:_SHOWN_CHARACTERS]
            cluster["members"].append({"question": text, "similarity": row["similarity"]})
    largest = sorted(clusters.values(), key=lambda cluster: -cluster["size"])
    return len(clusters), largest[:_MOST_CLUSTERS]


def _attempts(ledger: Ledger, keys: set[str]) -> dict[str, dict[str, Any]]:
    """Attempts, cost and model by request key, for the rows shown."""
    found: dict[str, dict[str, Any]] = {}
    for row in ledger.rows("request_key", "attempt", "model", "state", "error_code", "cost_nanousd"):
        if row["request_key"] in keys:
            entry = found.setdefault(row["request_key"], {"model": row["model"], "attempts": [], "cost_usd": 0.0})
            entry["attempts"].append(row["state"] + (f" ({row['error_code']})" if row["error_code"] else ""))
            entry["cost_usd"] += row["cost_nanousd"] / 1e9
    return found


def _shown(row: dict[str, Any], attempts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    provenance = []
    for part in _PARTS:
        key = row["metadata"][f"{part}_request_key"]
        entry = attempts.get(
            key or "", {"model": row["metadata"].get(f"{part}_model", ""), "attempts": [], "cost_usd": 0.0}
        )
        provenance.append({"part": part, "key": key or "given", **entry})
    reasoning = row["reasoning"] or {}
    return {
        "id": row["question_id"],
        "cell": f"{row['domain']}/{row['difficulty']}",
        "question": row["question"][:_SHOWN_CHARACTERS],
        "answer": row["answer"][:_SHOWN_CHARACTERS],
        "reasoning": {name: text[:_SHOWN_CHARACTERS] for name, text in reasoning.items()},
        "judge_mean": row["metadata"]["judge_mean"],
        "verification": row["metadata"]["verification"],
        "provenance": provenance,
    }
