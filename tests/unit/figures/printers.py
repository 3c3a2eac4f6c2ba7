"""Every function that shows a stage's figures, by name: terminal, cards, dashboard tables, report. Each takes the figures
of all stages and returns what it shows.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cogumi.cli import output
from cogumi.cli.comparison_text import result_text
from cogumi.cli.estimate_table import estimate_text
from cogumi.cli.main import app
from cogumi.cli.progress import Reporter
from cogumi.cli.run_base import show_base
from cogumi.cli.run_dataset import show_figures
from cogumi.cli.run_draft import show_draft
from cogumi.cli.run_train import show_adapter
from cogumi.cli.run_validate import show_validation
from cogumi.cli.training_progress import _Steps
from cogumi.dataset.card import dataset_card
from cogumi.dataset.compare_prompts.result import answer_figures, outcome_figures, position_figures
from cogumi.dataset.estimate import estimate
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import RunError
from cogumi.evaluate.comparison import compare, gate
from cogumi.evaluate.request import ValidateRequest
from cogumi.evaluate.scores import RowScore, Scores
from cogumi.recipe import load_recipe
from cogumi.report.build import _OF_THE_DRAFT, of_merging
from cogumi.report.html import render, verdict
from cogumi.report.plots import ARMS
from cogumi.report.rows import ReportRows
from cogumi.store.run_folder import RunFolder
from cogumi.training.card import model_card
from cogumi.training.cards import card_of_artifact
from cogumi.training.meta_train import MetaStep
from cogumi.training.request import BaseRequest, DraftRequest, TrainRequest
from tasks import dashboard, draft_board, pipeline_board, training_board, validation_board

Figures = dict[str, Any]
"""By stage, as receipts have them; `report` is the whole of report.json."""
NAMES = {"run": "r", "root": "runs"}
FOLDER = RunFolder(Path("runs/r"), "r", resumed=False)
PAGE = Path("/runs/r/report.html")


def terminal(show: Callable[[], object]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=200, markup=False, highlight=False, emoji=False)
    with patch.object(output, "RESULTS", console), patch.object(output, "NOTICES", console):
        show()
    return out.getvalue()


@contextmanager
def artifacts() -> Iterator[list[str]]:
    """What the block hands to Prefect as artifacts, as JSON: a server is not asked."""
    kept: list[str] = []

    def keep(*given: Any, **named: Any) -> None:
        kept.append(json.dumps([given, named], allow_nan=False))

    async def akeep(*given: Any, **named: Any) -> None:
        keep(*given, **named)

    with ExitStack() as patched:
        for module in (dashboard, draft_board, pipeline_board, training_board, validation_board):
            for name in dir(module):
                if name.endswith("_artifact") and "create" in name:
                    sink = akeep if name.startswith("a") else keep
                    patched.enter_context(patch.object(module, name, sink))
        yield kept


def board(show: Callable[[], object]) -> str:
    with artifacts() as kept:
        show()
    assert kept
    return "\n".join(kept)


def command(name: str, *arguments: str) -> Callable[[Figures], str]:
    """A command that makes something and shows its figures; here they are given."""

    def printed(figures: Figures) -> str:
        with patch.object(import_module(f"cogumi.cli.{name}"), "_made", lambda *_: figures[name]):
            done = CliRunner().invoke(app, [name, *arguments, "--adapter", "adapter", "--base", "base", "--out", "new"])
        if done.exception is not None:
            raise done.exception
        return done.output

    return printed


def receipt(stage: str, figures: Figures) -> dict[str, Any]:
    return {"stage": stage, "seed": 1, "inputs": "ab12", "recipe": {}, "metrics": figures[stage]}


def with_merge(figures: Figures) -> dict[str, Any]:
    return {**figures["train_models"], **of_merging(figures["merge"])}


def dataset_readme(figures: Figures) -> str:
    stage = figures["generate_dataset"]
    facts = {
        **stage, "verification": {}, "purpose": "tests", "name": "r", "pass_mean": 7.0, "terms": {},
        "tokens": sum(stage["tokens"].values()),
    }  # fmt: skip
    return dataset_card({}, {}, stage["cells"], facts)


def report_page(figures: Figures) -> str:
    stages = {
        "generate_dataset": {"version": None, **figures["generate_dataset"]},
        "train_models": with_merge(figures) | {name: figures["train_draft"][name] for name in _OF_THE_DRAFT},
        **{name: figures[name] for name in ("pretrain_base", "train_draft", "validate_model")},
    }
    report = {**figures["report"], "stages": stages}
    answers = {
        name: {"outcome": "wrong", "answer": "", "nats_a_token": figures["train_models"]["gain_mean"]} for name in "ab"
    }
    sample = {"why": "by chance", "source": "x", "prompt": "x", "right": "x", "answers": answers}
    curves = {name: [(1, 2.0), (2, 1.5)] for name in ("base", *ARMS)}
    return render(report, ReportRows(), curves, [sample])


def bars(figures: Figures) -> str:
    adapter = figures["train_models"]
    loss, speed, gain = (adapter[name] for name in ("loss_last", "tokens_per_s", "gain_mean"))
    step = MetaStep(1, 6, loss, 1.0, 1.0, 1.0, 0.1, 9, speed, 1.0, True, gain, 1.0)
    details: list[str] = []

    class Kept(Reporter):
        def __init__(self) -> None:
            """It shows nothing."""

        def update(
            self, name: str, done: int, total: int | None, unit: str = "", detail: str = "", rate: float | None = None
        ) -> None:
            details.append(detail)

    _Steps(Kept(), 2.0).watch("meta", step)
    return details[0]


def gate_of_few_rows(_: Figures) -> str:
    row = RowScore("k", "s", "d", "", "", "k", 1.0, 1, 4, True, 1.0, "right", "", "")
    with pytest.raises(RunError) as refused:
        gate(compare(Scores("new", [row]), Scores("old", [row])), most_bits=0.1)
    return refused.value.detail


def forecast_of_a_run(_: Figures) -> str:
    return estimate_text(estimate(load_recipe("spec-60k", ["dataset.answers_hard.guide=true"])), "r", 80)


def comparison_of_no_prompts(_: Figures) -> str:
    """Nothing was judged, so that every figure of the comparison is null."""
    prompt = {**answer_figures([], [], {}), "prompt": "p"}
    figures = {
        **outcome_figures([]), "position": position_figures([]), "prompts": {"a": prompt, "b": prompt}, "judge": "j",
        "cost_usd": 0.0, "at_risk_usd": 0.0,
    }  # fmt: skip
    return result_text(figures, Path("comparisons"), 80)


PRINTERS: dict[str, Callable[[Figures], str]] = {
    "run dataset": lambda f: terminal(lambda: show_figures(DatasetRequest(**NAMES), f["generate_dataset"])),
    "run base": lambda f: terminal(lambda: show_base(BaseRequest(**NAMES), f["pretrain_base"])),
    "run train": lambda f: terminal(lambda: show_adapter(TrainRequest(**NAMES), with_merge(f))),
    "run draft": lambda f: terminal(lambda: show_draft(DraftRequest(**NAMES), f["train_draft"])),
    "run validate, evaluate": lambda f: terminal(lambda: show_validation(ValidateRequest(**NAMES), f["validate_model"])),
    "progress of training": bars,
    "dry run": forecast_of_a_run,
    "compare-prompts": comparison_of_no_prompts,
    "merge": command("merge"),
    "adapt": command("adapt", "examples.jsonl"),
    "gate": gate_of_few_rows,
    "card of a dataset": dataset_readme,
    "card of a merged model": lambda f: model_card("m", "b", receipt("train_models", f), f["merge"]),
    "card of an adapted one": lambda f: model_card("m", "b", receipt("adapt", f), f["merge"]),
    "card of an adapter": lambda f: card_of_artifact("m", receipt("train_models", f)),
    "card of a base": lambda f: card_of_artifact("m", receipt("pretrain_base", f)),
    "card of a draft": lambda f: card_of_artifact("m", receipt("train_draft", f)),
    "card of a draft's first part": lambda f: card_of_artifact("m", receipt("train_draft_sft", f)),
    "dashboard, dataset": lambda f: board(lambda: asyncio.run(dashboard.show_results("r", {**f["report"], "stages": f}, PAGE))),
    "dashboard, base": lambda f: board(lambda: training_board.show_training(FOLDER, f["pretrain_base"])),
    "dashboard, adapter": lambda f: board(lambda: training_board.show_adapter(FOLDER, with_merge(f))),
    "dashboard, draft": lambda f: board(lambda: draft_board.show_draft(FOLDER, f["train_draft"])),
    "dashboard, draft's first part": lambda f: board(lambda: draft_board.show_imitation(FOLDER, f["train_draft_sft"])),
    "dashboard, validation": lambda f: board(lambda: validation_board.show_validation(FOLDER, f["validate_model"])),
    "dashboard, phases": lambda f: board(
        lambda: asyncio.run(pipeline_board.show_phases("r", {name: (name, part) for name, part in f.items()}))
    ),
    "report": report_page,
    "headline of a report": lambda f: verdict(f["generate_dataset"]),
}  # fmt: skip
