"""The stage's figures: what report.json says about a dataset run, from the plan and the ledger."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cogumi.dataset.context import DatasetRun
from cogumi.dataset.given import Given
from cogumi.dataset.merge import Merge
from cogumi.dataset.plan import Plan
from cogumi.dataset.spending import GROUPS, spending
from cogumi.store.batch_rows import Batch


def stage_figures(run: DatasetRun, plan: Plan, given: Given | None, merged: Merge, seconds: float) -> dict[str, Any]:
    """What report.json says about the stage.

    Money and retries come from the ledger, so they span every session of the run.
    """
    shards = [plan.grown[shard.name] for shard in plan.shards]
    accepted = sum(len(shard.marks) for shard in shards)
    rejected = sum((shard.rejected for shard in shards), plan.answers.rejected.copy())
    if given is not None:
        rejected += Counter({f"quarantine/{reason}": count for reason, count in given.reasons().items()})
    seen, right = sum(g.hidden_seen for g in shards), sum(g.hidden_right for g in shards)
    totals = run.staff.ledger.totals()
    calls = run.staff.ledger.table("stage", "provider", "model")
    spent = spending(run.recipe, run.staff.ledger.table(*GROUPS))
    return {
        "status": "completed",
        "rows": merged.cells.total(),
        "cells": {cell: merged.cells[cell] for cell in plan.expected()},
        "unverified": merged.verification["unverified"],
        "near_duplicates": len(plan.near),
        "near_duplicate_index_bytes": plan.index.size_bytes(),
        "harm_filtered": sum(n for reason, n in rejected.items() if reason.startswith("harm/")),
        "asked": sum(g.asked for g in shards) + (given.rows if given else 0),
        "judged": accepted + sum(n for reason, n in rejected.items() if reason.startswith(("judge/", "harm/"))),
        "accepted": accepted,
        "rejected": dict(sorted(rejected.items())),
        "duplicates": sum(g.duplicates for g in shards)
        + plan.settled().duplicates
        + (given.duplicates if given else 0),
        "answers_asked_again": dict(sorted(plan.answers.asked_again.items())),
        "calls": sum(row["attempts"] for row in calls),
        "calls_by_stage": dict(sum((Counter({row["stage"]: row["attempts"]}) for row in calls), Counter())),
        "retries": totals.failed + totals.unknown,
        "judge_accuracy": right / seen if seen else None,
        "judge_hidden": seen,
        "judge_missed": dict(sorted(sum((g.missed for g in shards), Counter()).items())),
        "cost_usd": totals.cost_nanousd / 1e9,
        "at_risk_usd": totals.at_risk_nanousd / 1e9,
        "saving_usd": spent.saving_usd,
        "guide_usd": spent.guide_usd,
        "delivery": dict(run.routes),
        "batches": batch_figures(run.staff.ledger.batches()),
        "cache_read_share": _cache_read_share(calls),
        "balance": plan.balance,
        "preflight": [finding.to_json() for finding in run.findings if finding.level != "ok"],
        "rehearsal": run.recipe.rehearsal,
        "seconds": round(seconds, 3),
    }


def batch_figures(batches: list[Batch]) -> list[dict[str, Any]]:
    """Batches by stage, provider and state: how many, and what became of their items."""
    rows: dict[tuple[str, str, str], Counter[str]] = {}
    for batch in batches:
        row = rows.setdefault((batch.stage, batch.provider, batch.state), Counter())
        row.update(batches=1, requests=batch.requests, succeeded=batch.succeeded, failed=batch.failed)
    return [
        {"stage": stage, "provider": provider, "state": state, **counts}
        for (stage, provider, state), counts in sorted(rows.items())
    ]


def _cache_read_share(calls: list[dict[str, Any]]) -> float | None:
    """Of the prompt tokens that a cache wrote or read, the share that was read; None where nothing was cached."""
    read, written = (sum(row[name] for row in calls) for name in ("cached_tokens", "cache_written_tokens"))
    return round(read / (read + written), 4) if read + written else None
