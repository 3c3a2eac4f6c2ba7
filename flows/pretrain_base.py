"""Phase 1B, its first part: a base model trained from nothing on a dataset, on the GPU pool's card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime

from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder
from cogumi.training.claim import claim_for_base
from cogumi.training.request import BaseRequest
from tasks.dashboard import tag_this_run
from tasks.resources import open_store
from tasks.training_board import show_training
from tasks.training_tasks import fetch_published_dataset, publish_model, train_base


def base_run_name() -> str:
    """base-RUN."""
    asked = runtime.flow_run.parameters["request"]
    request = asked if isinstance(asked, BaseRequest) else BaseRequest.model_validate(asked)
    return f"base-{request.named().run}"


@flow(name="pretrain-base", flow_run_name=base_run_name, persist_result=False, retries=0)
def pretrain_base(request: BaseRequest) -> dict[str, Any]:
    """Train and publish the base model; returns the stage's figures, `device` and `artifact` among them.

    The worker's card is claimed before anything is loaded. Raises the library's errors with their codes.
    """
    request = request.named()
    recipe = request.load()
    tag_this_run("training", f"run:{request.run}")
    device = claim_for_base(recipe)
    datasets = open_store(request.store, request.name) if request.dataset else None
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "base", request.change) as folder:
        request.keep(folder.path)
        data = fetch_published_dataset(request, folder, datasets)
        figures = train_base(recipe, folder, data, device)
        if request.dataset:
            models = open_store(request.store, request.models)
            figures = {**figures, "artifact": publish_model("base", models, folder, figures)}
        show_training(folder, figures)
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)  # where the dataset was made on this machine
    return figures
