"""The whole road: every phase in its order, data on this worker, GPU phases on their pools, adapters and a draft's
teacher text at the same time. Before anything is trained, its rows are checked against the benchmarks.

Phases hand each other artifact ids (NAME@vNNNN) through the store, never Prefect's results.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow, runtime

from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder, run_path
from cogumi.system.request import PipelineRequest
from cogumi.training.request import TrainRequest
from flows.generate_dataset import generate_dataset
from flows.pretrain_base import pretrain_base
from flows.train_draft import train_draft
from flows.train_models import train_models
from flows.validate_model import validate_model
from tasks.dispatch import cancel_dispatched, dispatch, somebody_works
from tasks.pipeline_board import show_phases
from tasks.resources import open_store, with_recipe_block
from tasks.scheduling import period_of_this_run
from tasks.termination import sigterm_heard
from tasks.validation_tasks import check_benchmarks, publish_suite

BASE_ON_H100 = "pretrain-base/h100"
TRAIN_ON_H100 = "train-models/h100"
DRAFT_ON_H100 = "train-draft/h100"
SFT_ON_A100 = "train-draft-sft/a100"
VALIDATE_ON_H100 = "validate-model/h100"


def pipeline_run_name() -> str:
    """pipeline-RUN, or pipeline-NAME while the run is not named yet."""
    request = PipelineRequest.of(runtime.flow_run.parameters["request"])
    return f"pipeline-{request.dataset.run or request.named('').dataset.run}"


@flow(name="pipeline", flow_run_name=pipeline_run_name, persist_result=False, on_cancellation=[cancel_dispatched])
async def pipeline(request: PipelineRequest) -> dict[str, Any]:
    """Run every phase the recipe has; returns the artifact id of each. Run again, finished phases are reused.

    Raises the library's errors of phases here, RunError phase-failed or phase-crashed for those on a pool.
    """
    asked = await with_recipe_block(request.dataset)  # one recipe serves all phases
    request = request.model_copy(update={"dataset": asked}).named(period_of_this_run(Path(asked.root)))
    request.keep(run_path(Path(request.dataset.root), request.dataset.run))
    figures: Any = await generate_dataset(request.dataset)
    async with sigterm_heard():
        made = await _after_the_dataset(request, figures)
        await show_phases(request.dataset.run, made)
    return {phase: artifact_id for phase, (artifact_id, _) in made.items()}


async def _after_the_dataset(request: PipelineRequest, figures: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """The id and the figures of what each phase has made."""
    run, name, store = request.dataset.run, request.dataset.dataset, request.dataset.versions
    data = open_store(store, name).of_run(run)
    made = {"generate-dataset": (f"{name}@{data.label}", data.metrics)}
    recipe, base_id, after = request.dataset.load(), "", figures
    if recipe.validates or (recipe.validation is not None and recipe.validation.benchmarks):
        made["check-benchmarks"] = await _suite(request, recipe)
    if recipe.base is not None:
        base = request.base(data.label)
        if request.dispatch == "local":
            pretrain_base(base)
        else:
            after = await dispatch(BASE_ON_H100, base.model_dump(mode="json"), run, after)
        base_id, metrics = _made(store, base.models, run)
        made["pretrain-base"] = (base_id, metrics)
    imitation_id = ""
    if recipe.train is not None:
        train = request.train(data.label, "" if recipe.train.base else base_id)
        if request.dispatch == "local":
            train_models(train)
        else:
            after, imitation_id = await _train_and_imitate(request, recipe, train, run, after)
        made["train-models"] = _made(store, train.models, run)
    if imitation_id:
        made["train-draft-sft"] = (imitation_id, open_store(store, imitation_id.partition("@")[0]).of_run(run).metrics)
    if recipe.draft is not None:
        whole = _made(store, train.merged, run)[0] if recipe.train is not None else base_id
        draft = request.draft(data.label, "" if recipe.draft.target else whole, imitation_id)
        if request.dispatch == "local":
            train_draft(draft)
        else:
            after = await dispatch(DRAFT_ON_H100, draft.model_dump(mode="json"), run, after)
        made["train-draft"] = _made(store, draft.models, run)
    if recipe.validates:
        made["validate-model"] = await _validated(request, data.label, made, after)
    return made


async def _suite(request: PipelineRequest, recipe: Recipe) -> tuple[str, dict[str, Any]]:
    """The rows to validate on, published; nothing is trained on a dataset that holds a benchmark's question."""
    asked = request.validation("")
    with RunFolder.open(Path(asked.root), asked.run, recipe, asked.command, "suite", asked.change) as folder:
        figures = await asyncio.to_thread(check_benchmarks, recipe, folder, str(folder.dataset))
        suites = open_store(request.dataset.versions, f"{request.dataset.dataset}-suite")
        return await asyncio.to_thread(publish_suite, suites, folder), figures


async def _validated(
    request: PipelineRequest, version: str, made: dict[str, tuple[str, dict[str, Any]]], after: Any
) -> tuple[str, dict[str, Any]]:
    """All models that the phases before have made, on the same rows."""
    run, store = request.dataset.run, request.dataset.versions
    phases = {"suite": "check-benchmarks", "base": "pretrain-base", "adapter": "train-models", "draft": "train-draft"}
    ids = {what: made[phase][0] for what, phase in phases.items() if phase in made}
    if "adapter" in ids:
        ids["merged"] = _made(store, f"{request.dataset.dataset}-merged", run)[0]
    asked = request.validation(version, **ids)
    if request.dispatch == "local":
        validate_model(asked)
    else:
        await dispatch(VALIDATE_ON_H100, asked.model_dump(mode="json"), run, after)
    return _made(store, asked.models, run)


async def _train_and_imitate(
    request: PipelineRequest, recipe: Recipe, train: TrainRequest, run: str, after: Any
) -> tuple[Any, str]:
    """Adapters on one pool and, where there is to be a draft, its teacher text on the other meanwhile: it needs of the
    target no more than the base's tokenizer. What the next phase comes after, and the id of what was learned.

    Both are waited for, also where one fails. Where nobody works on the other pool, the draft learns it itself later.
    """
    phases = [dispatch(TRAIN_ON_H100, train.model_dump(mode="json"), run, after)]
    imitation = None
    if recipe.draft is not None and await somebody_works(SFT_ON_A100):
        named = recipe.draft.target or (recipe.train.base if recipe.train is not None else "")
        imitation = request.imitation(train.version, "" if named else train.base)
        phases.append(dispatch(SFT_ON_A100, imitation.model_dump(mode="json"), run, after))
    ended = await asyncio.gather(*phases, return_exceptions=True)
    for end in ended:
        if isinstance(end, BaseException):
            raise end
    return ended, _made(request.dataset.versions, imitation.imitations, run)[0] if imitation else ""


def _made(store: str, name: str, run: str) -> tuple[str, dict[str, Any]]:
    """The id and the figures of what a phase of this run has published."""
    models = open_store(store, name)
    model = models.of_run(run)
    return f"{models.name}@{model.label}", model.metrics
