"""`cogumi run STAGE`: a stage by recipe, as a Prefect flow or (--no-prefect) in this process. Run again, it resumes."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import typer

from cogumi.cli.dataset_progress import dataset_progress
from cogumi.cli.output import JsonOption, note, print_json, print_table, say, say_done
from cogumi.cli.progress import progress
from cogumi.cli.run_base import run_base, show_base, show_plan
from cogumi.cli.run_draft import run_draft, show_draft, show_draft_plan
from cogumi.cli.run_train import run_train, show_adapter, show_train_plan
from cogumi.cli.run_validate import check_rows, run_validate, show_validate_plan, show_validation
from cogumi.cli.with_prefect import run_flow
from cogumi.dataset.estimate import estimate
from cogumi.dataset.given import write_quarantine
from cogumi.dataset.request import DatasetRequest
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.dataset.versions import open_plan, publish_version
from cogumi.domain import Difficulty
from cogumi.errors import InputError, Interrupted, StorageError
from cogumi.evaluate.claim import check_validation, claim_for_validation
from cogumi.evaluate.request import ValidateRequest
from cogumi.recipe import Recipe, load_recipe, preset_names
from cogumi.report.build import write_report
from cogumi.report.html import verdict
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import RunFolder, read_run, run_path
from cogumi.store.versions import Versions
from cogumi.system.request import PipelineRequest
from cogumi.training.claim import claim_for_adapters, claim_for_base, claim_for_draft
from cogumi.training.request import BaseRequest, DraftRequest, ModelRequest, TrainRequest

STAGES = ("dataset", "base", "train", "draft", "validate")
_FIGURES = {"base": "pretrain_base", "train": "train_models", "draft": "train_draft", "validate": "validate_model"}


def run(
    stage: str = typer.Argument(help=f"One of: {', '.join(STAGES)}, all."),
    recipe: str = typer.Option(
        "tiny", "--recipe", "-r", help=f"A preset ({', '.join(preset_names())}) or a YAML file."
    ),
    name: str = typer.Option("", "--run", help="Name of the run; by default the recipe's."),
    overrides: list[str] = typer.Option([], "--set", help="Change the recipe: section.key=value."),
    questions: list[Path] = typer.Option(
        [], "--questions", help="Existing questions (.jsonl files or folders) in place of stage 1."
    ),
    root: Path = typer.Option(Path("runs"), "--root", help="Folder that holds the runs."),
    rehearse: bool = typer.Option(
        False, "--rehearse", help="The embedded provider in place of every teacher: no key, play money."
    ),
    dataset: str = typer.Option("", "--dataset", help="Publish the result as the next version of this dataset."),
    base: str = typer.Option("", "--base", help="Train on this published base model, NAME or NAME@VERSION."),
    target: str = typer.Option("", "--target", help="Train a draft for this published model, NAME or NAME@VERSION."),
    suite: str = typer.Option("", "--suite", help="Validate on these published rows, NAME or NAME@VERSION."),
    adapter: str = typer.Option("", "--adapter", help="Validate this published adapter."),
    merged: str = typer.Option("", "--merged", help="Validate this published merged model."),
    draft: str = typer.Option("", "--draft", help="Validate this published draft."),
    period: str = typer.Option("", "--period", help="What the rows are made anew for, such as 2026-W47."),
    versions: str = typer.Option("datasets", "--versions", help="Folder or URL (s3://...) that holds the versions."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Price and minutes, without a call."),
    no_prefect: bool = typer.Option(False, "--no-prefect", help="The same stage in this process, without Prefect."),
    as_json: bool = JsonOption,
) -> None:
    """Run a stage. The same command again resumes it and buys only what is missing."""
    if stage not in (*STAGES, "all"):
        raise InputError("stage-unknown", f"{stage!r}; there are {', '.join(STAGES)} and all")
    if stage in _FIGURES:
        load_recipe(recipe, overrides)
        given: dict[str, Any] = {
            "recipe": recipe, "overrides": overrides, "run": name, "dataset": dataset, "store": versions,
            "root": str(root), "period": period,
        }  # fmt: skip
        named = {"base": base, "target": target, "suite": suite, "adapter": adapter, "merged": merged, "draft": draft}
        run_model_stage(_asked(stage, given, named), not no_prefect, as_json, dry_run)
        return
    request = request_for(
        recipe, name, overrides, questions, root, rehearse=rehearse, dataset=dataset, period=period, versions=versions
    )
    if dry_run:
        show_estimate(request, as_json)
        return
    run_stages(request, STAGES[-1] if stage == "all" else stage, prefect=not no_prefect, as_json=as_json)


def _asked(stage: str, given: dict[str, Any], published: dict[str, str]) -> ModelRequest:
    if stage == "base":
        return BaseRequest.checked(**given).named()
    if stage == "train":
        return TrainRequest.checked(**given, base=published["base"]).named()
    if stage == "validate":
        names = ("suite", "base", "adapter", "merged", "draft")
        return ValidateRequest.checked(**given, **{name: published[name] for name in names}).named()
    return DraftRequest.checked(**given, target=published["target"]).named()


def run_stages(request: DatasetRequest, last: str, prefect: bool, as_json: bool) -> None:
    """The stages up to `last` that the recipe has; prints what each made.

    What this machine cannot train is said before a row is bought.
    """
    recipe, wanted = request.load(), STAGES[: STAGES.index(last) + 1]
    with progress("checks"):
        if "base" in wanted and recipe.base is not None:
            claim_for_base(recipe)
        if "train" in wanted and recipe.train is not None:
            claim_for_adapters(recipe)
        if "draft" in wanted and recipe.draft is not None:
            claim_for_draft(recipe)
        if "validate" in wanted and recipe.validates:
            check_validation(recipe)
            claim_for_validation(recipe)
    figures = run_dataset(request, prefect)
    stages = {"generate_dataset": figures}
    if not as_json:
        show_figures(request, figures)
    asked = PipelineRequest(dataset=request)
    if "base" in wanted and recipe.validates:
        check_rows(asked.validation(""), recipe)
    if "base" in wanted and recipe.base is not None:
        stages["pretrain_base"] = _made(asked.base(""), prefect, as_json)
    if "train" in wanted and recipe.train is not None:
        stages["train_models"] = _made(asked.train("", ""), prefect, as_json)
    if "draft" in wanted and recipe.draft is not None:
        stages["train_draft"] = _made(asked.draft("", ""), prefect, as_json)
    if "validate" in wanted and recipe.validates:
        stages["validate_model"] = _made(asked.validation(""), prefect, as_json)
    if as_json:
        print_json({"run": request.run, "folder": str(run_path(Path(request.root), request.run)), "stages": stages})


def run_model_stage(request: ModelRequest, prefect: bool, as_json: bool, dry_run: bool = False) -> None:
    """A training stage by itself, or what it would do."""
    if dry_run:
        if isinstance(request, TrainRequest):
            show_train_plan(request, as_json)
        elif isinstance(request, DraftRequest):
            show_draft_plan(request, as_json)
        elif isinstance(request, BaseRequest):
            show_plan(request, as_json)
        elif isinstance(request, ValidateRequest):
            show_validate_plan(request, as_json)
        return
    made = _made(request, prefect, as_json)
    if as_json:
        folder = str(run_path(Path(request.root), request.run))
        print_json({"run": request.run, "folder": folder, "stages": {_FIGURES[request.stage]: made}})


def _made(request: ModelRequest, prefect: bool, quiet: bool) -> dict[str, Any]:
    """Run a training stage; shows what it made unless it is to be quiet."""
    figures: dict[str, Any] = {}
    if isinstance(request, TrainRequest):
        figures = run_train(request, prefect)
        show = partial(show_adapter, request)
    elif isinstance(request, DraftRequest):
        figures = run_draft(request, prefect)
        show = partial(show_draft, request)
    elif isinstance(request, BaseRequest):
        figures = run_base(request, prefect)
        show = partial(show_base, request)
    elif isinstance(request, ValidateRequest):
        figures = run_validate(request, prefect)
        show = partial(show_validation, request)
    if not quiet:
        show(figures)
    return figures


def request_for(
    recipe: str, name: str, overrides: list[str], questions: list[Path], root: Path, **more: Any
) -> DatasetRequest:
    """A checked request; everything wrong with it is said before anything starts."""
    load_recipe(recipe, overrides)
    run_path(root, name or "unnamed")
    Versions(more.get("versions", "datasets"), more.get("dataset") or "unnamed")
    request = DatasetRequest.checked(
        run=name,
        recipe=recipe,
        overrides=overrides,
        questions=[str(path) for path in questions],
        root=str(root),
        **more,
    )
    return request.named(period=f"{datetime.now(UTC):%Y-%m-%d}")


def run_dataset(request: DatasetRequest, prefect: bool) -> dict[str, Any]:
    """Run the dataset stage and return its figures."""
    recipe = request.load()
    try:
        with dataset_progress():
            announce(request, recipe)
            if prefect:
                return run_flow("generate_dataset", request)
            return asyncio.run(_or_sigterm(_in_process(request, recipe)))
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None


def announce(request: DatasetRequest, recipe: Recipe) -> None:
    """Say what is reused and what will be bought, before the first call. A ledger that cannot be read now, such as one
    that another run is making, is left to the run, which takes the lock first.
    """
    try:
        ledger = _existing_ledger(request)
    except StorageError:
        return
    if ledger is None:
        return
    try:
        expected = estimate(recipe, ledger, _given(request))
        note(f"resuming {request.run}: {ledger.replies:,} replies reused, about {expected['calls']:,} calls to buy")
    finally:
        ledger.close()


def show_estimate(request: DatasetRequest, as_json: bool) -> None:
    """The dry run: calls, tokens, dollars and minutes by stage."""
    ledger = _existing_ledger(request)
    try:
        expected = estimate(request.load(), ledger, _given(request))
    finally:
        if ledger is not None:
            ledger.close()
    if as_json:
        print_json(expected)
        return
    columns = ["stage", "model", "delivery", "calls", "tokens in", "tokens out", "USD", "plain USD", "minutes"]
    names = ["stage", "model", "delivery", "calls", "prompt_tokens", "completion_tokens", "cost_usd", "plain_usd"]
    names.append("minutes")
    print_table(f"Estimate for {request.run}", columns, [[row[n] for n in names] for row in expected["stages"]])
    low, high = expected["cost_usd_range"]
    say(f"about ${expected['cost_usd']:,.2f} (${low:,.2f} to ${high:,.2f}), {expected['minutes']:,.1f} minutes")
    if expected["saving_usd"] > 0:
        say(f"batches and caching save ${expected['saving_usd']:,.2f} of ${expected['plain_usd']:,.2f}")
    if expected["max_usd"] is not None:
        say(f"hard stop at ${expected['max_usd']:,.2f} (budget.max_usd)")


def show_figures(request: DatasetRequest, figures: dict[str, Any]) -> None:
    folder = run_path(Path(request.root), request.run)
    say_done(f"{verdict(figures)} in {figures['seconds']:.1f} s")
    if figures["rehearsal"]:
        say("a rehearsal: the loopback provider wrote, judged and answered; its dollars are play money")
    say(f"  dataset: {folder / 'dataset'}\n  report:  {folder / 'report.html'}")


async def _or_sigterm(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The work's result; SIGTERM ends it as Ctrl-C does: replies under way are waited for."""
    loop, told = asyncio.get_running_loop(), asyncio.ensure_future(work)
    loop.add_signal_handler(signal.SIGTERM, told.cancel)
    try:
        return await told
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _in_process(request: DatasetRequest, recipe: Recipe) -> dict[str, Any]:
    with RunFolder.open(Path(request.root), request.run, recipe, request.command) as folder:
        request.keep(folder.path)
        given = request.read_questions(recipe)
        if given is not None:
            write_quarantine(folder.path / "quarantine.jsonl", given)
        versions = request.open_versions()
        async with open_dataset_run(recipe, folder) as run:
            figures = await generate(run, await open_plan(run, given, versions), given)
        if versions is not None:
            publish_version(versions, folder.path, folder.name)
        write_report(folder.path)
    return figures


def _existing_ledger(request: DatasetRequest) -> Ledger | None:
    folder = run_path(Path(request.root), request.run)
    if not (folder / "run.json").is_file():
        return None
    read_run(folder)
    return Ledger.view(RunFolder(folder, request.run, True).ledger_url, request.run)


def _given(request: DatasetRequest) -> Counter[Difficulty] | None:
    """Existing questions by difficulty, or None where the run makes its own."""
    given = request.read_questions(request.load())
    return Counter(q.cell.difficulty for q in given.questions) if given else None
