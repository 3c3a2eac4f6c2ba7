"""Build a run's report from what lies in its folder: run.json, receipts, exports and ledger. Nothing is asked of a
run in memory.

write_report(Path("runs/demo"))     # report.json and report.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cogumi.dataset.lost_ledger import is_lost
from cogumi.phases import report_phase
from cogumi.report.html import render
from cogumi.report.plots import ARMS
from cogumi.report.rows import read_rows
from cogumi.store.artifacts import read_receipt
from cogumi.store.files import read_json, read_jsonl, write_atomic, write_json
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import ledger_url, read_run
from cogumi.store.versions import VERSION_FILE
from cogumi.training.metrics import METRICS, loss_by_step

_OF_MERGING = ("merge_max_rel_err", "thinking", "thinking_not_measured")
_MERGE_CHECK = ("targets", "untouched", "rows", "exact", "kl", "argmax", "outputs_not_compared")
_FROM_LEDGER = ("cost", "attempts", "retries")
_OF_THE_DRAFT = ("draft_alpha", "draft_acceptance_length")


def write_report(folder: Path) -> dict[str, Any]:
    """Write report.json and report.html beside run.json; returns what report.json holds. Where the ledger is lost, what
    it said stays as report.json has it.
    """
    report_phase("report")
    run = read_run(folder)
    ledger = Ledger.view(ledger_url(folder), run["name"])
    try:
        report = build_report(folder, run, ledger)
        if is_lost(folder, ledger):
            report |= _of_ledger(folder / "report.json")
        page = render(
            report,
            read_rows(folder, report["stages"]["generate_dataset"]["rows"], ledger),
            _curves(folder),
            _answers(folder),
        )
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
    stage["besides_usd"] = max(0.0, ledger.totals().cost_nanousd / 1e9 - stage["cost_usd"])
    return {
        "run": run["name"],
        "recipe": run["recipe"]["name"],
        "purpose": run["recipe"]["purpose"],
        "created": run["created"],
        "rerun": run["command"] or f"cogumi run dataset --recipe {run['recipe']['name']} --run {run['name']}",
        "versions": {"cogumi": run["cogumi"], "git": run["git"], "python": run["python"], **run["versions"]},
        "pass_mean": run["recipe"]["dataset"]["judge"]["pass_mean"],
        "changes": run.get("changes", []),
        "stages": {"generate_dataset": stage, **_later_stages(folder)},
        "cost": _money(ledger.table("stage", "provider", "model")),
        "attempts": ledger.table("provider", "stage", "state", "error_code"),
        "retries": [{**row, "waited_s": round(row["waited_s"], 3)} for row in ledger.failures()],
        "files": receipt["files"] if receipt else {},
    }


def _of_ledger(file: Path) -> dict[str, Any]:
    """What a report that was written while there was a ledger took from it."""
    before = read_json(file) if file.is_file() else {}
    return {name: before[name] for name in _FROM_LEDGER if name in before}


def _later_stages(folder: Path) -> dict[str, Any]:
    """The figures of the stages after the dataset, by their receipts."""
    receipts = [read_receipt(folder / artifact) for artifact in ("base", "adapter", "draft", "validation")]
    stages: dict[str, Any] = {receipt["stage"]: dict(receipt["metrics"]) for receipt in receipts if receipt}
    models = stages.get("train_models", {})  # phase 1B's figures in one place
    merged = read_receipt(folder / "merged")
    models |= of_merging(merged["metrics"]) if merged else {}
    models |= {name: stages.get("train_draft", {}).get(name) for name in _OF_THE_DRAFT if "train_draft" in stages}
    return stages


def of_merging(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the merged model adds to the figures of the adapters' stage; under `merge` how it was checked."""
    told = {name: metrics[name] for name in _OF_MERGING if name in metrics}
    return told | {"merge": {name: metrics[name] for name in _MERGE_CHECK if name in metrics}}


def _curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Training losses by step: of the base model, and of the adapter's arms."""
    files = {"base": folder / "base" / METRICS, **{arm: folder / "adapter" / f"{arm}.jsonl" for arm in ARMS}}
    return {name: loss_by_step(file) for name, file in files.items()}


def _answers(folder: Path) -> list[dict[str, Any]]:
    """Samples of the validation, side by side."""
    file = folder / "validation" / "samples.jsonl"
    return list(read_jsonl(file)) if file.is_file() else []


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
