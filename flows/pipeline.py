"""The whole road: every phase in its order, data on this worker, GPU phases on their pools.

Phases hand each other artifact ids (NAME@vNNNN) through the store, never Prefect's results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime

from cogumi.store.run_folder import run_path
from cogumi.system.request import PipelineRequest
from flows.generate_dataset import generate_dataset
from flows.pretrain_base import pretrain_base
from flows.train_draft import train_draft
from flows.train_models import train_models
from tasks.dispatch import cancel_dispatched, dispatch
from tasks.pipeline_board import show_phases
from tasks.resources import open_store, with_recipe_block
from tasks.scheduling import period_of_this_run

BASE_ON_H100 = "pretrain-base/h100"
TRAIN_ON_H100 = "train-models/h100"
DRAFT_ON_H100 = "train-draft/h100"


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
    run, name, store = request.dataset.run, request.dataset.dataset, request.dataset.versions
    request.keep(run_path(Path(request.dataset.root), run))
    figures: Any = await generate_dataset(request.dataset)
    data = open_store(store, name).of_run(run)
    made = {"generate-dataset": (f"{name}@{data.label}", data.metrics)}
    recipe, base_id, after = request.dataset.load(), "", figures
    if recipe.base is not None:
        base = request.base(data.label)
        if request.dispatch == "local":
            pretrain_base(base)
        else:
            after = await dispatch(BASE_ON_H100, base.model_dump(mode="json"), run, after)
        base_id, metrics = _made(store, base.models, run)
        made["pretrain-base"] = (base_id, metrics)
    if recipe.train is not None:
        train = request.train(data.label, "" if recipe.train.base else base_id)
        if request.dispatch == "local":
            train_models(train)
        else:
            after = await dispatch(TRAIN_ON_H100, train.model_dump(mode="json"), run, after)
        made["train-models"] = _made(store, train.models, run)
    if recipe.draft is not None:
        whole = _made(store, train.merged, run)[0] if recipe.train is not None else base_id
        draft = request.draft(data.label, "" if recipe.draft.target else whole)
        if request.dispatch == "local":
            train_draft(draft)
        else:
            await dispatch(DRAFT_ON_H100, draft.model_dump(mode="json"), run, after)
        made["train-draft"] = _made(store, draft.models, run)
    await show_phases(run, made)
    return {phase: artifact_id for phase, (artifact_id, _) in made.items()}


def _made(store: str, name: str, run: str) -> tuple[str, dict[str, Any]]:
    """The id and the figures of what a phase of this run has published."""
    models = open_store(store, name)
    model = models.of_run(run)
    return f"{models.name}@{model.label}", model.metrics
