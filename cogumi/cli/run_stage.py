"""Stages from the command line: those of a recipe one after the other, or one by itself; a finished one says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cogumi.cli.change_text import tell_changes
from cogumi.cli.finished import StageRequest, figures_of_finished, remember_finished
from cogumi.cli.output import note, print_json, say
from cogumi.cli.stage_inputs import check_inputs
from cogumi.dataset.request import DatasetRequest
from cogumi.dataset.requirements import check_keys
from cogumi.evaluate.request import ValidateRequest
from cogumi.recipe import Recipe
from cogumi.store.run_changes import RunChanges, refuse
from cogumi.store.run_folder import changes_of_run, check_root, read_run, run_path
from cogumi.system.finished_stages import ARTIFACTS
from cogumi.system.request import PipelineRequest
from cogumi.training.request import BaseRequest, DraftRequest, ModelRequest, TrainRequest

STAGES = tuple(ARTIFACTS)
_FIGURES = {"base": "pretrain_base", "train": "train_models", "draft": "train_draft", "validate": "validate_model"}
_SECTIONS = {"base": "base", "train": "train", "draft": "draft", "validate": "validation"}


def run_stages(request: DatasetRequest, last: str, prefect: bool, as_json: bool) -> None:
    """The stages up to `last` that the recipe has; prints what each made.

    What this machine cannot train, and keys that are missing, are said before a row is bought.
    """
    recipe = request.load()
    wanted = _wanted(recipe, last)
    if not _all_finished(request, recipe, wanted):
        from cogumi.cli.progress import progress

        with progress("checks"):
            _claim(recipe, wanted)
    asked = PipelineRequest(dataset=request, dispatch="local")
    if last == STAGES[-1]:
        _keep(asked, recipe)
    figures = _dataset(request, recipe, prefect, as_json)
    stages = {"generate_dataset": figures}
    requests: dict[str, Callable[[], ModelRequest]] = {
        "base": partial(asked.base, ""),
        "train": partial(asked.train, "", ""),
        "draft": partial(asked.draft, "", ""),
        "validate": partial(asked.validation, ""),
    }
    if "validate" in wanted and figures_of_finished(asked.validation(""), recipe) is None:
        from cogumi.cli.run_validate import check_rows

        check_rows(asked.validation(""), recipe)
    for stage in wanted:
        stages[_FIGURES[stage]] = _made(requests[stage](), prefect, as_json)
    if as_json:
        print_json({"run": request.run, "folder": str(run_path(Path(request.root), request.run)), "stages": stages})


def _keep(request: PipelineRequest, recipe: Recipe) -> None:
    """So that `cogumi resume` goes on with all stages, whichever was stopped."""
    check_keys(recipe)
    root = Path(request.dataset.root)
    check_root(root)
    folder = run_path(root, request.dataset.run)
    folder.mkdir(exist_ok=True)
    request.keep(folder)


def run_model_stage(request: ModelRequest, prefect: bool, as_json: bool, dry_run: bool = False) -> None:
    """A training stage by itself, or what it would do."""
    if dry_run:
        plan = _plan(request, as_json)
        if as_json:
            print_json(plan)
        return
    check_root(Path(request.root))
    made = _made(request, prefect, as_json)
    if as_json:
        folder = str(run_path(Path(request.root), request.run))
        print_json({"run": request.run, "folder": folder, "stages": {_FIGURES[request.stage]: made}})


def show_forecasts(request: DatasetRequest, as_json: bool) -> None:
    """The dry run of every stage that the recipe has."""
    from cogumi.cli.run_dataset import dataset_forecast

    asked, wanted = PipelineRequest(dataset=request), _wanted(request.load(), STAGES[-1])
    plans = {"dataset": dataset_forecast(request, as_json)}
    requests = {"base": asked.base(""), "train": asked.train("", ""), "draft": asked.draft("", ""),
                "validate": asked.validation("")}  # fmt: skip
    after = "" if plans["dataset"]["finished"] else "dataset"
    for stage in wanted:
        plans[stage] = _plan(requests[stage], as_json, after)
        after = after or ("" if plans[stage]["finished"] else stage)
    if as_json:
        print_json(plans)


def _wanted(recipe: Recipe, last: str) -> list[str]:
    """The stages after the dataset, up to `last`, that the recipe has."""
    upto = STAGES[1 : STAGES.index(last) + 1]
    return [stage for stage in upto if (recipe.validates if stage == "validate" else getattr(recipe, _SECTIONS[stage]))]


def _claim(recipe: Recipe, wanted: list[str]) -> None:
    from cogumi.evaluate.claim import check_validation, claim_for_validation
    from cogumi.training.claim import claim_for_adapters, claim_for_base, claim_for_draft

    claims: dict[str, list[Callable[[Recipe], Any]]] = {
        "base": [claim_for_base],
        "train": [claim_for_adapters],
        "draft": [claim_for_draft],
        "validate": [check_validation, claim_for_validation],
    }
    for stage in wanted:
        for claim in claims[stage]:
            claim(recipe)


def _dataset(request: DatasetRequest, recipe: Recipe, prefect: bool, quiet: bool) -> dict[str, Any]:
    """The dataset's figures: those of the finished one, or of the run."""
    figures = figures_of_finished(request, recipe)
    from cogumi.cli.run_dataset import run_dataset, show_figures, warn_of_lost_ledger

    if figures is None:
        figures = run_dataset(request, prefect)
        remember_finished(request, recipe, figures)
    else:
        note(f"{request.run}: the dataset is finished, nothing to buy")
        warn_of_lost_ledger(request)
    if not quiet:
        show_figures(request, figures)
    return figures


def _made(request: ModelRequest, prefect: bool, quiet: bool) -> dict[str, Any]:
    """Run a training stage, or take what it has finished; shows what it made unless it is to be quiet."""
    recipe = request.load()
    run, show = _runner(request)
    figures = figures_of_finished(request, recipe)
    if figures is None:
        _refuse_changes(request, recipe)
        check_inputs(request, recipe)
        figures = run(prefect)
        remember_finished(request, recipe, figures)
    else:
        note(f"{request.run}: {request.stage} is finished, nothing to {_verb(request)}")
    if not quiet:
        show(figures)
    return figures


def _runner(request: ModelRequest) -> tuple[Callable[[bool], dict[str, Any]], Callable[[dict[str, Any]], None]]:
    """How the stage of a request is run, and how its figures are shown."""
    if isinstance(request, TrainRequest):
        from cogumi.cli.run_train import run_train, show_adapter

        return partial(run_train, request), partial(show_adapter, request)
    if isinstance(request, DraftRequest):
        from cogumi.cli.run_draft import run_draft, show_draft

        return partial(run_draft, request), partial(show_draft, request)
    if isinstance(request, ValidateRequest):
        from cogumi.cli.run_validate import run_validate, show_validation

        return partial(run_validate, request), partial(show_validation, request)
    assert isinstance(request, BaseRequest), f"no stage runs {type(request).__name__}"
    from cogumi.cli.run_base import run_base, show_base

    return partial(run_base, request), partial(show_base, request)


def _plan(request: ModelRequest, quiet: bool, after: str = "") -> dict[str, Any]:
    """The dry run of a training stage; printed unless it is to be quiet. A finished stage has nothing to do, unless a
    stage `after` which it comes is made anew.
    """
    recipe = request.load()
    if figures_of_finished(request, recipe) is not None:
        if not quiet and not after:
            say(f"{request.run}: {request.stage} is finished, nothing to {_verb(request)}")
        if not after:
            return {"run": request.run, "finished": True}
        if not quiet:
            note(f"{request.run}: {request.stage} is finished, and made anew unless {after} comes out as it was")
    found = _changes(request, recipe)
    if found is not None and not quiet:
        tell_changes(request.run, found, request.stage, request.change)
    changes = [] if found is None else [change.to_json() for change in found.changes]
    return {**_plan_of_stage(request, quiet), "finished": False, "changes": changes}


def _verb(request: ModelRequest) -> str:
    return "do" if isinstance(request, ValidateRequest) else "train"


def _plan_of_stage(request: ModelRequest, quiet: bool) -> dict[str, Any]:
    if isinstance(request, TrainRequest):
        from cogumi.cli.run_train import show_train_plan

        return show_train_plan(request, quiet)
    if isinstance(request, DraftRequest):
        from cogumi.cli.run_draft import show_draft_plan

        return show_draft_plan(request, quiet)
    if isinstance(request, ValidateRequest):
        from cogumi.cli.run_validate import show_validate_plan

        return show_validate_plan(request, quiet)
    assert isinstance(request, BaseRequest), f"no stage runs {type(request).__name__}"
    from cogumi.cli.run_base import show_plan

    return show_plan(request, quiet)


def _refuse_changes(request: ModelRequest, recipe: Recipe) -> None:
    """Raises RunError run-recipe-changed before Prefect or torch are loaded."""
    found = _changes(request, recipe)
    if found is not None:
        refuse(request.run, found, request.stage, request.change)


def _changes(request: ModelRequest, recipe: Recipe) -> RunChanges | None:
    """How the recipe differs from that of the run; None where there is none yet."""
    folder = run_path(Path(request.root), request.run)
    return changes_of_run(folder, read_run(folder), recipe) if (folder / "run.json").is_file() else None


def _all_finished(request: DatasetRequest, recipe: Recipe, wanted: list[str]) -> bool:
    asked = PipelineRequest(dataset=request)
    requests = {"base": asked.base(""), "train": asked.train("", ""), "draft": asked.draft("", ""),
                "validate": asked.validation("")}  # fmt: skip
    each: list[StageRequest] = [request, *(requests[stage] for stage in wanted)]
    return all(figures_of_finished(one, recipe) is not None for one in each)
