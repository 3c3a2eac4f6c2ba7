"""Phase 1B: adapters meta-trained on a base model, compared with plain SFT, on the GPU pool's card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime

from cogumi.report.build import of_merging, write_report
from cogumi.store.run_folder import RunFolder
from cogumi.training.claim import claim_for_adapters
from cogumi.training.request import TrainRequest
from tasks.dashboard import tag_this_run
from tasks.resources import open_store
from tasks.training_board import show_adapter
from tasks.training_tasks import (
    fetch_published_base,
    fetch_published_dataset,
    merge_adapter,
    publish_model,
    train_adapter,
)


def train_run_name() -> str:
    """train-RUN."""
    asked = runtime.flow_run.parameters["request"]
    request = asked if isinstance(asked, TrainRequest) else TrainRequest.model_validate(asked)
    return f"train-{request.named().run}"


@flow(name="train-models", flow_run_name=train_run_name, persist_result=False, retries=0)
def train_models(request: TrainRequest) -> dict[str, Any]:
    """Train and publish the adapter; returns the stage's figures, `device` and `artifact` among them.

    The worker's card is claimed before anything is loaded. Raises the library's errors with their codes.
    """
    request = request.named()
    recipe = request.load()
    tag_this_run("training", f"run:{request.run}")
    device = claim_for_adapters(recipe)
    datasets = open_store(request.store, request.name) if request.dataset else None
    bases = open_store(request.store, request.base_name) if request.base else None
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "train", request.change) as folder:
        request.keep(folder.path)
        data = fetch_published_dataset(request, folder, datasets)
        base = fetch_published_base(request, folder, bases)
        figures = train_adapter(recipe, folder, data, base, device)
        merged = merge_adapter(recipe, folder, data, base)
        figures |= of_merging(merged)
        if request.dataset:
            models, whole = (open_store(request.store, name) for name in (request.models, request.merged))
            figures = {**figures, "artifact": publish_model("adapter", models, folder, figures)}
            figures = {**figures, "merged": publish_model("merged", whole, folder, figures)}
        show_adapter(folder, figures)
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)  # where the dataset was made on this machine
    return figures
