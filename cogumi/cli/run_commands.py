"""`cogumi run STAGE`: each stage is a command with the options that it has. Run again, a stage resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from cogumi.cli.output import JsonOption
from cogumi.cli.run_options import (
    ChangeOption,
    DatasetOption,
    DryRunOption,
    NoPrefectOption,
    PeriodOption,
    PublishOption,
    QuestionsOption,
    RecipeOption,
    RehearseOption,
    RootOption,
    RunOption,
    SetOption,
    VersionsOption,
)
from cogumi.recipe import load_recipe

app = typer.Typer(
    help="Run a stage by recipe. The same command again resumes it and buys only what is missing.",
    no_args_is_help=True,
)


@app.command("dataset")
def dataset(
    recipe: str = RecipeOption,
    name: str = RunOption,
    overrides: list[str] = SetOption,
    questions: list[Path] = QuestionsOption,
    root: Path = RootOption,
    rehearse: bool = RehearseOption,
    dataset: str = PublishOption,
    period: str = PeriodOption,
    versions: str = VersionsOption,
    change: bool = ChangeOption,
    dry_run: bool = DryRunOption,
    no_prefect: bool = NoPrefectOption,
    as_json: bool = JsonOption,
) -> None:
    """Questions, judgements and answers: a dataset with exact counts."""
    from cogumi.cli.run_dataset import request_for, show_forecast
    from cogumi.cli.run_stage import run_stages

    request = request_for(
        recipe, name, overrides, questions, root, rehearse=rehearse, dataset=dataset, period=period,
        versions=versions, change=change,
    )  # fmt: skip
    if dry_run:
        show_forecast(request, as_json)
    else:
        run_stages(request, "dataset", prefect=not no_prefect, as_json=as_json)


@app.command("base")
def base(
    recipe: str = RecipeOption,
    name: str = RunOption,
    overrides: list[str] = SetOption,
    root: Path = RootOption,
    dataset: str = DatasetOption,
    period: str = PeriodOption,
    versions: str = VersionsOption,
    change: bool = ChangeOption,
    dry_run: bool = DryRunOption,
    no_prefect: bool = NoPrefectOption,
    as_json: bool = JsonOption,
) -> None:
    """A base model, trained from scratch on a dataset."""
    from cogumi.training.request import BaseRequest

    given = _given(recipe, name, overrides, root, dataset, period, versions, change)
    _run(BaseRequest.checked(**given).named(), not no_prefect, as_json, dry_run)


@app.command("train")
def train(
    recipe: str = RecipeOption,
    name: str = RunOption,
    overrides: list[str] = SetOption,
    root: Path = RootOption,
    dataset: str = DatasetOption,
    base: str = typer.Option("", "--base", help="Train on this published base model, NAME or NAME@VERSION."),
    period: str = PeriodOption,
    versions: str = VersionsOption,
    change: bool = ChangeOption,
    dry_run: bool = DryRunOption,
    no_prefect: bool = NoPrefectOption,
    as_json: bool = JsonOption,
) -> None:
    """LoRA adapters, meta-trained on a base model, and the two merged."""
    from cogumi.training.request import TrainRequest

    given = _given(recipe, name, overrides, root, dataset, period, versions, change)
    _run(TrainRequest.checked(**given, base=base).named(), not no_prefect, as_json, dry_run)


@app.command("draft")
def draft(
    recipe: str = RecipeOption,
    name: str = RunOption,
    overrides: list[str] = SetOption,
    root: Path = RootOption,
    dataset: str = DatasetOption,
    target: str = typer.Option("", "--target", help="The published target model, NAME or NAME@VERSION."),
    period: str = PeriodOption,
    versions: str = VersionsOption,
    change: bool = ChangeOption,
    dry_run: bool = DryRunOption,
    no_prefect: bool = NoPrefectOption,
    as_json: bool = JsonOption,
) -> None:
    """A draft model for speculative decoding, distilled from its target."""
    from cogumi.training.request import DraftRequest

    given = _given(recipe, name, overrides, root, dataset, period, versions, change)
    _run(DraftRequest.checked(**given, target=target).named(), not no_prefect, as_json, dry_run)


@app.command("validate")
def validate(
    recipe: str = RecipeOption,
    name: str = RunOption,
    overrides: list[str] = SetOption,
    root: Path = RootOption,
    dataset: str = DatasetOption,
    suite: str = typer.Option("", "--suite", help="Validate on these published rows, NAME or NAME@VERSION."),
    base: str = typer.Option("", "--base", help="Validate this published base."),
    adapter: str = typer.Option("", "--adapter", help="Validate this published adapter."),
    merged: str = typer.Option("", "--merged", help="Validate this published merged model."),
    draft: str = typer.Option("", "--draft", help="Validate this published draft."),
    period: str = PeriodOption,
    versions: str = VersionsOption,
    change: bool = ChangeOption,
    dry_run: bool = DryRunOption,
    no_prefect: bool = NoPrefectOption,
    as_json: bool = JsonOption,
) -> None:
    """All models of a run on the same rows, compared pair by pair."""
    from cogumi.evaluate.request import ValidateRequest

    given = _given(recipe, name, overrides, root, dataset, period, versions, change)
    named = {"suite": suite, "base": base, "adapter": adapter, "merged": merged, "draft": draft}
    _run(ValidateRequest.checked(**given, **named).named(), not no_prefect, as_json, dry_run)


@app.command("all")
def all_stages(
    recipe: str = RecipeOption,
    name: str = RunOption,
    overrides: list[str] = SetOption,
    questions: list[Path] = QuestionsOption,
    root: Path = RootOption,
    rehearse: bool = RehearseOption,
    dataset: str = PublishOption,
    period: str = PeriodOption,
    versions: str = VersionsOption,
    change: bool = ChangeOption,
    dry_run: bool = DryRunOption,
    no_prefect: bool = NoPrefectOption,
    as_json: bool = JsonOption,
) -> None:
    """Every stage that the recipe has, one after the other."""
    from cogumi.cli.run_dataset import request_for
    from cogumi.cli.run_stage import run_stages, show_forecasts

    request = request_for(
        recipe, name, overrides, questions, root, rehearse=rehearse, dataset=dataset, period=period,
        versions=versions, change=change,
    )  # fmt: skip
    if dry_run:
        show_forecasts(request, as_json)
    else:
        run_stages(request, "validate", prefect=not no_prefect, as_json=as_json)


def _given(
    recipe: str, name: str, overrides: list[str], root: Path, dataset: str, period: str, versions: str, change: bool
) -> dict[str, Any]:
    """What the requests of the training stages have in common. The recipe's own errors come first."""
    load_recipe(recipe, overrides)
    return {
        "recipe": recipe, "overrides": overrides, "run": name, "dataset": dataset, "store": versions,
        "root": str(root), "period": period, "change": change,
    }  # fmt: skip


def _run(request: Any, prefect: bool, as_json: bool, dry_run: bool) -> None:
    from cogumi.cli.run_stage import run_model_stage

    run_model_stage(request, prefect, as_json, dry_run)
