"""Phase 1B: a draft's first part, teacher text alone, on the A100 pool while adapters are trained on the H100 pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime

from cogumi.store.run_folder import RunFolder
from cogumi.training.claim import claim_for_imitation
from cogumi.training.request import ImitationRequest
from tasks.dashboard import tag_this_run
from tasks.draft_board import show_imitation
from tasks.draft_tasks import fetch_published_target, train_imitation
from tasks.resources import open_store
from tasks.training_tasks import fetch_published_dataset, publish_model


def draft_sft_run_name() -> str:
    """draft-sft-RUN."""
    asked = runtime.flow_run.parameters["request"]
    request = asked if isinstance(asked, ImitationRequest) else ImitationRequest.model_validate(asked)
    return f"draft-sft-{request.named().run}"


@flow(name="train-draft-sft", flow_run_name=draft_sft_run_name, persist_result=False, retries=0)
def train_draft_sft(request: ImitationRequest) -> dict[str, Any]:
    """Train and publish what distillation goes on from; returns the stage's figures, `device` and `artifact` too.

    Raises the library's errors with their codes.
    """
    request = request.named()
    recipe = request.load()
    tag_this_run("training", f"run:{request.run}")
    datasets = open_store(request.store, request.name) if request.dataset else None
    targets = open_store(request.store, request.target_name) if request.target else None
    place = Path(request.root)
    with RunFolder.open(place, request.run, recipe, request.command, "draft-sft", request.change) as folder:
        request.keep(folder.path)
        target = fetch_published_target(request, folder, targets)
        device = claim_for_imitation(recipe, target[0])
        data = fetch_published_dataset(request, folder, datasets)
        figures = train_imitation(recipe, folder, data, target, device)
        if request.dataset:
            models = open_store(request.store, request.imitations)
            figures = {**figures, "artifact": publish_model("draft-sft", models, folder, figures)}
        show_imitation(folder, figures)
    return figures
