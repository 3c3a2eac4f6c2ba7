"""Build a run's report from what lies in its folder: run.json, receipts, exports and ledger. Nothing is asked of a
run in memory.

write_report(Path("runs/demo"))     # report.json and report.html
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

from cogumi.dataset.export import count_label
from cogumi.dataset.versions import VERSION_FILE
from cogumi.report.html import render
from cogumi.store.artifacts import read_receipt
from cogumi.store.files import read_json, read_jsonl, write_atomic, write_json
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import read_run

SAMPLE_ROWS = 20
_SHOWN_CHARACTERS = 1500


def write_report(folder: Path) -> dict[str, Any]:
    """Write report.json and report.html beside run.json; returns what report.json holds."""
    run = read_run(folder)
    ledger = Ledger.view(os.environ.get("COGUMI_LEDGER_URL") or f"sqlite:///{folder / 'ledger.db'}", run["name"])
    try:
        report = build_report(folder, run, ledger)
        page = render(report, samples(folder, report, ledger), lengths(folder, report))
    finally:
        ledger.close()
    write_json(folder / "report.json", report)
    write_atomic(folder / "report.html", page.encode())
    return report


def build_report(folder: Path, run: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    """The content of report.json."""
    receipt = read_receipt(folder / "dataset")
    stage = dict(receipt["metrics"]) if receipt else {"status": "incomplete", **_so_far(ledger)}
    told = folder / VERSION_FILE
    stage |= read_json(told) if told.is_file() else {"version": None}
    return {
        "run": run["name"],
        "recipe": run["recipe"]["name"],
        "purpose": run["recipe"]["purpose"],
        "created": run["created"],
        "rerun": run["command"] or f"cogumi run dataset --recipe {run['recipe']['name']} --run {run['name']}",
        "versions": {"cogumi": run["cogumi"], "git": run["git"], "python": run["python"], **run["versions"]},
        "stages": {"generate_dataset": stage},
        "cost": _money(ledger.table("stage", "provider", "model")),
        "attempts": ledger.table("provider", "stage", "state", "error_code"),
        "retries": [{**row, "waited_s": round(row["waited_s"], 3)} for row in ledger.failures()],
        "files": receipt["files"] if receipt else {},
    }


def samples(folder: Path, report: dict[str, Any], ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """20 random rows and the 20 that the judge liked least, each with where it came from."""
    rows = _complete_rows(folder, report)
    if not rows:
        return {"random": [], "worst": []}
    random_rows = Random(0).sample(rows, min(SAMPLE_ROWS, len(rows)))
    worst = sorted(rows, key=lambda row: row["metadata"]["judge_mean"])[:SAMPLE_ROWS]
    attempts = _attempts(
        ledger, {row["metadata"][f"{part}_request_key"] for row in random_rows + worst for part in _PARTS}
    )
    return {
        name: [_shown(row, attempts) for row in chosen] for name, chosen in (("random", random_rows), ("worst", worst))
    }


def lengths(folder: Path, report: dict[str, Any]) -> dict[str, list[int]]:
    """Characters of every question and answer, for the length plot."""
    rows = _complete_rows(folder, report)
    return {name: [len(row[name]) for row in rows] for name in ("question", "answer")}


_PARTS = ("question", "judge", "answer")


def _complete_rows(folder: Path, report: dict[str, Any]) -> list[dict[str, Any]]:
    count = report["stages"]["generate_dataset"].get("rows", 0)
    path = folder / "dataset" / f"training_{count_label(count)}_complete.jsonl"
    return list(read_jsonl(path)) if path.is_file() else []


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


def _money(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **{
                name: row[name]
                for name in (
                    "stage",
                    "provider",
                    "model",
                    "attempts",
                    "prompt_tokens",
                    "cached_tokens",
                    "completion_tokens",
                )
            },
            "cost_usd": row["cost_nanousd"] / 1e9,
            "at_risk_usd": row["at_risk_nanousd"] / 1e9,
        }
        for row in rows
    ]


def _so_far(ledger: Ledger) -> dict[str, Any]:
    totals = ledger.totals()
    calls = ledger.table("stage")
    return {
        "rows": 0,
        "cells": {},
        "rejected": {},
        "duplicates": 0,
        "calls": sum(row["attempts"] for row in calls),
        "calls_by_stage": {row["stage"]: row["attempts"] for row in calls},
        "retries": totals.failed + totals.unknown,
        "judge_accuracy": None,
        "cost_usd": totals.cost_nanousd / 1e9,
        "at_risk_usd": totals.at_risk_nanousd / 1e9,
        "seconds": 0.0,
    }
