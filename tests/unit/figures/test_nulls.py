"""Figures that are null: a run with one held-out test task from end to end, and every function that shows figures with
any of them null.
"""

from __future__ import annotations

import ast
import copy
import json
import math
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cogumi.cli.main import app
from cogumi.lm.device import Device
from cogumi.recipe import load_recipe
from cogumi.store.artifacts import read_receipt
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ModelInput
from cogumi.training.base import DatasetInput
from cogumi.training.cards import card_of_artifact
from cogumi.training.draft.imitation import make_imitation
from tests.unit.figures.printers import PRINTERS, Figures

ROOT = Path(__file__).resolve().parents[3]
ONE_TASK = ["--set", "train.held_out_share=0.13"]
"""Two tasks are held out: one is chosen by, one is reported on."""
FEW = "too few tasks (1)"
STAGES = {"dataset": "generate_dataset", "base": "pretrain_base", "adapter": "train_models", "draft": "train_draft",
          "draft-sft": "train_draft_sft", "validation": "validate_model", "merged": "merge"}  # fmt: skip


def cogumi(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the run `tiny`: every stage of the tiny recipe with one held-out test task."""
    place = tmp_path_factory.mktemp("few") / "runs"
    shown = cogumi("run", "all", "--no-prefect", "--root", str(place), *ONE_TASK)
    assert FEW in shown and f"no conclusion: {FEW}" in shown
    return place


def test_one_held_out_task_goes_through_every_stage_and_through_all_again(root: Path, tmp_path: Path) -> None:
    folder, again = root / "tiny", ["--no-prefect", "--root", str(root), *ONE_TASK]
    receipt = read_receipt(folder / "adapter")
    assert receipt is not None
    figures = receipt["metrics"]
    assert figures["tasks"]["test"] == figures["held_out_tasks"] == 1 and figures["episodes"] > 1
    assert figures["verdict"] == f"no conclusion: {FEW}" and figures["concludes"] is False
    assert all(row["gain_ci95"] == row["loss_ci95"] == [None, None] for row in figures["table"]), "null in JSON"
    assert all(math.isfinite(row["loss"]) for row in figures["table"])
    assert not [row for row in figures["table"] if row["way"] == "adapted on another task"], "there is none"
    assert FEW in cogumi("run", "train", *again), "resumed: what is there is read again"
    assert json.loads(cogumi("run", "train", *again, "--json"))["stages"]["train_models"]["gain_ci95"] == [None, None]
    cogumi("run", "draft", *again)
    cogumi("run", "validate", *again)
    cogumi("merge", "--run", "tiny", "--root", str(root), "--out", str(tmp_path / "merged"))
    for card in (folder / "merged" / "README.md", tmp_path / "merged" / "README.md"):
        assert f"(interval: {FEW})" in card.read_text()
    assert FEW in card_of_artifact("mine", receipt)
    cogumi("report", "tiny", "--root", str(root))
    page = (folder / "report.html").read_text()
    assert f'<td class="n">{FEW}</td>' in page and f"No conclusion: {FEW}" in page
    report = json.loads((folder / "report.json").read_text())
    assert report["stages"]["train_models"]["gain_ci95"] == [None, None]


@pytest.fixture(scope="module")
def real(root: Path) -> Figures:
    """The figures of every stage of that run, and those of a draft's first part and of an adaptation."""
    recipe, folder = load_recipe("tiny", ONE_TASK[1:]), RunFolder(root / "tiny", "tiny", resumed=True)
    data, base = DatasetInput(folder.dataset, "tiny"), ModelInput(str(folder.path / "base"), "tiny/base")
    make_imitation(recipe, folder, data, base, Device("cpu", "CPU", "", simulated=False))
    found: Figures = {"report": json.loads((folder.path / "report.json").read_text())}
    for name, stage in STAGES.items():
        receipt = read_receipt(folder.path / name)
        assert receipt is not None and receipt["stage"] == stage
        found[stage] = receipt["metrics"]
    found["adapt"] = {"examples": 2, "steps": 3, "base": "tiny/base", "gain_mean": 0.1, "gain_low": 0.0, "gain_high": 0.2,
                      "adapt_seconds": 0.5, "device": found["merge"].get("device", found["pretrain_base"]["device"])}  # fmt: skip
    return found


Place = tuple[str | int, ...]


def may_be_null(value: Any, at: Place = ()) -> Iterator[Place]:
    """Numbers that are no counts, and intervals: JSON has null for those that are not finite or not known."""
    if at and str(at[-1]).endswith("ci95"):
        yield at
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from may_be_null(part, (*at, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from may_be_null(part, (*at, number))
    elif isinstance(value, float):
        yield at


def nulled(real: Figures, places: set[Place], null: float | None) -> Figures:
    figures = copy.deepcopy(real)
    for at in places:
        part: Any = figures
        for name in at[:-1]:
            part = part[name]
        part[at[-1]] = [null, null] if str(at[-1]).endswith("ci95") and null is not None else null
    return figures


TABLE_OF_TASKS = {"run train", "card of a merged model", "card of an adapter", "dashboard, adapter", "report"}
"""What shows intervals over the one held-out task."""
BAD = re.compile(r"\b(None|nan|NaN|inf|Infinity|null)\b")


@pytest.mark.parametrize("name", PRINTERS)
def test_any_figures_may_be_null_wherever_they_are_shown(
    name: str, real: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    show = PRINTERS[name]
    places = sorted(may_be_null(real), key=str)
    assert len(places) > 300
    for null in (None, math.nan, -math.inf):
        shown = show(nulled(real, set(places), null))
        assert not BAD.search(shown), shown
    shown = show(real)
    assert not BAD.search(shown), shown
    assert FEW in " ".join(shown.split()) or name not in TABLE_OF_TASKS

    @settings(max_examples=30, deadline=None)
    @given(st.sets(st.sampled_from(places)), st.sampled_from([None, math.nan, math.inf]))
    def some(chosen: set[Place], null: float | None) -> None:
        shown = show(nulled(real, chosen, null))
        assert not BAD.search(shown), shown

    some()


IN_PASSING = {
    ("tasks/training_tasks.py", "watch"), ("tasks/draft_tasks.py", "watch"), ("tasks/training_tasks.py", "merge_adapter"),
    ("cogumi/dataset/forecast.py", "_over_budget"),
}  # fmt: skip
"""Lines of a flow's log need a flow run; what is left of a budget is a sum of known costs."""


@cache
def sources() -> dict[str, ast.AST]:
    files = [file for package in ("cogumi", "tasks", "flows") for file in (ROOT / package).rglob("*.py")]
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}


def formatting_functions(file: str, tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The innermost functions of a file that call what it imports from the module of formats."""
    known = {alias.asname or alias.name for node in ast.walk(tree)
             if isinstance(node, ast.ImportFrom) and node.module == "cogumi.metrics.formatting" for alias in node.names}  # fmt: skip

    def inside(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in known - {"Sample", "is_known", "counted"}
        ):
            yield file, function
        for part in ast.iter_child_nodes(node):
            yield from inside(part, function)

    return inside(tree, "")


def test_every_function_that_formats_figures_is_among_those(
    real: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entered: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(ROOT)):
            entered.add((file.removeprefix(f"{ROOT}/"), frame.f_code.co_name))

    sys.setprofile(note)
    try:
        for show in PRINTERS.values():
            show(real)
    finally:
        sys.setprofile(None)
    formatting = {found for file, tree in sources().items() for found in formatting_functions(file, tree)}
    assert len(formatting) > 15 and formatting - entered == IN_PASSING


def test_no_module_formats_a_figure_by_itself(real: Figures) -> None:
    """Neither by an f-string or `format` with a specification of floats, nor in a template."""
    figures = {str(name) for at in may_be_null(real) for name in at[-2:] if isinstance(name, str)}
    assert {"gain_ci95", "draft_alpha", "nll_last", "accuracy", "cost_usd"} <= figures
    floats = re.compile(r"\.\d+[efgEFG%]|%$")
    found = []
    for file, tree in sources().items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.FormattedValue)
                and node.format_spec
                and floats.search(ast.unparse(node.format_spec))
            ):
                named = {part.slice.value for part in ast.walk(node.value)
                         if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Constant)
                         and not ast.unparse(part).startswith("expected")}  # fmt: skip # an estimate
                found += [(file, node.lineno, name) for name in named & figures]
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = set(re.findall(r"\{(\w+):[^}]*\.\d[efg%]\}", node.value))
                found += [(file, node.lineno, name) for name in named & figures]
    for page in (ROOT / "cogumi" / "report" / "templates").iterdir():
        bare = re.sub(r'style="width:\{\{.*?\}\}', "", page.read_text())
        found += [(page.name, 0, spec) for spec in re.findall(r'"[^"]*(?:%[+]?\.\d|\{:[+,]*\.\d)[^"]*"', bare)]
    assert found == []
