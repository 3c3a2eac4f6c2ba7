"""The validation stage's tasks. The suite needs no torch; only scoring imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from cogumi.evaluate.request import Candidate, Open, ValidateRequest, fetch_models, fetch_suite
from cogumi.evaluate.suite_stage import make_suite
from cogumi.lm.device import Device
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from tasks.phase_log import phases_logged


@task(name="check-benchmarks", persist_result=False, cache_policy=NO_CACHE)
def check_benchmarks(recipe: Recipe, folder: RunFolder, dataset: str) -> dict[str, Any]:
    """The rows to validate on; a dataset that holds a benchmark's question does not get past here."""
    figures = make_suite(recipe, folder, Path(dataset))
    gate = figures["contamination"]
    get_run_logger().info("%d of %d training rows hold a benchmark's question", gate["contaminated"], gate["rows"])
    return figures


@task(name="publish-suite", persist_result=False, cache_policy=NO_CACHE)
def publish_suite(suites: Versions, folder: RunFolder) -> str:
    """The rows as the next version of the name; returns their id."""
    version = suites.publish(folder.path / "suite", folder.name)
    return f"{suites.name}@{version.label}"


@task(name="fetch-models", persist_result=False, cache_policy=NO_CACHE)
def fetch_candidates(request: ValidateRequest, recipe: Recipe, folder: RunFolder, opened: Open) -> list[Candidate]:
    """Every model that there is, on this machine, checked."""
    return fetch_models(request, recipe, folder, opened)


@task(name="fetch-suite", persist_result=False, cache_policy=NO_CACHE)
def fetch_rows(request: ValidateRequest, folder: RunFolder, opened: Open) -> Path | None:
    """The rows that a pipeline has published, on this machine; None where they are made here."""
    return fetch_suite(request, folder, opened)


@task(name="score-model", task_run_name="score-{model.name}", persist_result=False, cache_policy=NO_CACHE)
def score_model(recipe: Recipe, folder: RunFolder, suite: Path, model: Candidate, device: Device) -> dict[str, Any]:
    """One model on all rows. Scores of the same model, rows and way of asking are taken as they are."""
    from cogumi.evaluate.stage import make_scores  # noqa: PLC0415

    with phases_logged():
        return make_scores(recipe, folder, suite, model, device)


@task(name="compare-models", persist_result=False, cache_policy=NO_CACHE)
def compare_models(
    recipe: Recipe, folder: RunFolder, suite: Path, models: list[Candidate], device: Device
) -> dict[str, Any]:
    """The table, the verdict, samples, and what was not right."""
    from cogumi.evaluate.stage import make_validation  # noqa: PLC0415

    return make_validation(recipe, folder, suite, models, device)


@task(name="publish-validation", persist_result=False, cache_policy=NO_CACHE)
def publish_validation(validations: Versions, folder: RunFolder, figures: dict[str, Any]) -> str:
    """The table as the next version of the name; returns its id, and tells whoever waits for verdicts."""
    version = validations.publish(folder.path / "validation", folder.name)
    emit_event(
        event="cogumi.validation.ready",
        resource={
            "prefect.resource.id": f"cogumi.validation.{validations.name}", "prefect.resource.name": validations.name
        },
        payload={"version": version.number, "run": folder.name, "verdict": figures["verdict"],
                 "contaminated": figures["contaminated"]},
    )  # fmt: skip
    return f"{validations.name}@{version.label}"
