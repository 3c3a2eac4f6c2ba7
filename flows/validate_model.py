"""Phase 1D: base, trained and merged model and draft on the same rows, on the GPU pool's card. Scores are kept by model
and rows: run again, only what is new is read.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, runtime

from cogumi.evaluate.claim import check_validation, claim_for_validation
from cogumi.evaluate.request import ValidateRequest
from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder
from tasks.dashboard import tag_this_run
from tasks.resources import open_store
from tasks.training_tasks import fetch_published_dataset
from tasks.validation_board import show_validation
from tasks.validation_tasks import (
    check_benchmarks,
    compare_models,
    fetch_candidates,
    fetch_rows,
    publish_validation,
    score_model,
)


def validate_run_name() -> str:
    """validate-RUN."""
    asked = runtime.flow_run.parameters["request"]
    request = asked if isinstance(asked, ValidateRequest) else ValidateRequest.model_validate(asked)
    return f"validate-{request.named().run}"


@flow(name="validate-model", flow_run_name=validate_run_name, persist_result=False, retries=0)
def validate_model(request: ValidateRequest) -> dict[str, Any]:
    """Score, compare and publish; returns the stage's figures, `verdict` and `contaminated` among them.

    Raises the library's errors with their codes.
    """
    request = request.named()
    recipe = request.load()
    tag_this_run("validation", f"run:{request.run}")
    if not request.suite:
        check_validation(recipe)
    opened = partial(open_store, request.store)
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "validate", request.change) as folder:
        request.keep(folder.path)
        models = fetch_candidates(request, recipe, folder, opened)
        device = claim_for_validation(recipe, models)
        suite = fetch_rows(request, folder, opened)
        if suite is None:
            data = fetch_published_dataset(request, folder, opened(request.name) if request.dataset else None)
            check_benchmarks(recipe, folder, data[0])
            suite = folder.path / "suite"
        for model in models:
            score_model(recipe, folder, suite, model, device)
        figures = {**compare_models(recipe, folder, suite, models, device), "dataset": request.dataset or request.run}
        if request.dataset:
            validations = open_store(request.store, request.models)
            figures = {**figures, "artifact": publish_validation(validations, folder, figures)}
        show_validation(folder, figures)
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)  # where the dataset was made on this machine
    return figures
