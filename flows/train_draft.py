"""Phase 1B: a draft model for speculative decoding, trained on what its target writes, on the GPU pool's card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime

from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder
from cogumi.training.claim import claim_for_draft
from cogumi.training.request import DraftRequest
from tasks.dashboard import tag_this_run
from tasks.draft_board import show_draft
from tasks.draft_tasks import fetch_published_imitation, fetch_published_target, train_draft_model
from tasks.resources import open_store
from tasks.training_tasks import fetch_published_dataset, publish_model


def draft_run_name() -> str:
    """draft-RUN."""
    asked = runtime.flow_run.parameters["request"]
    request = asked if isinstance(asked, DraftRequest) else DraftRequest.model_validate(asked)
    return f"draft-{request.named().run}"


@flow(name="train-draft", flow_run_name=draft_run_name, persist_result=False, retries=0)
def train_draft(request: DraftRequest) -> dict[str, Any]:
    """Train, measure and publish the draft; returns the stage's figures, `device` and `artifact` among them.

    Raises the library's errors with their codes.
    """
    request = request.named()
    recipe = request.load()
    tag_this_run("training", f"run:{request.run}")
    datasets = open_store(request.store, request.name) if request.dataset else None
    targets = open_store(request.store, request.target_name) if request.target else None
    begun = open_store(request.store, request.imitation_name) if request.imitation else None
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "draft", request.change) as folder:
        request.keep(folder.path)
        target = fetch_published_target(request, folder, targets)
        device = claim_for_draft(recipe, target[0])
        data = fetch_published_dataset(request, folder, datasets)
        imitation = fetch_published_imitation(request, folder, begun)
        figures = train_draft_model(recipe, folder, data, target, device, imitation)
        if request.dataset:
            models = open_store(request.store, request.models)
            figures = {**figures, "artifact": publish_model("draft", models, folder, figures)}
        show_draft(folder, figures)
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)  # where the dataset was made on this machine
    return figures
