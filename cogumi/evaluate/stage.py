"""Validation of a run: every model on the same rows, and a table that says which is better, or that none can tell.

for model in models:
    make_scores(recipe, folder, suite, model, device)
figures = make_validation(recipe, folder, suite, models, device)

    scores/NAME/scores.jsonl     each row of each model; kept by model and rows, so that nothing is read twice
    validation/                  the table and what lies beside it, see `table`
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cogumi.errors import RunError
from cogumi.evaluate.asking import FORM
from cogumi.evaluate.candidates import hashes_of
from cogumi.evaluate.judging import Judge
from cogumi.evaluate.request import Candidate
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.evaluate.scores import SCORES, read_scores, to_json
from cogumi.evaluate.scoring import score_candidate
from cogumi.evaluate.suite import SUITE, read_suite
from cogumi.evaluate.suite_stage import recorded_of, validation_section_of
from cogumi.evaluate.table import table_of, write_scores, write_table
from cogumi.lm.device import Device
from cogumi.phases import report_phase
from cogumi.recipe import Recipe, ValidationSection, content_hash
from cogumi.sandbox import open_sandbox
from cogumi.store.artifacts import held_metrics, new_artifact, read_receipt
from cogumi.store.files import sha256_of, write_jsonl
from cogumi.store.run_folder import RunFolder

STAGE = "validate_model"
ARTIFACT = "validation"
PARTS = "scores"
_HOW = {"max_new_tokens", "max_seq_length", "seed", "choices", "code_samples", "temperature", "sandbox"}
_MAIN = ("merged", "trained")


def make_scores(
    recipe: Recipe,
    folder: RunFolder,
    suite: Path,
    model: Candidate,
    device: Device,
) -> dict[str, Any]:
    """Score one model on the rows of a suite's folder; returns its figures. Scores of the same model, rows and way of
    asking are taken as they are.

    Raises InputError suite-*, extra-missing, and as open_candidate; RunError sandbox-missing; StorageError.
    """
    section = validation_section_of(recipe)
    inputs = _inputs_of(section, suite, model)
    place = folder.path / PARTS / model.name
    held = held_metrics(place, inputs)
    if held is not None:
        return held
    rows = read_suite(suite / SUITE)
    place.parent.mkdir(parents=True, exist_ok=True)
    asked = section.model_dump(mode="json", include=_HOW)
    with (
        new_artifact(place, "score_model", inputs, asked, recipe.seed) as made,
        judge_of(section, rows) as judge,
    ):
        scores, figures = score_candidate(model, device, rows, section, judge)
        write_jsonl(made.path / SCORES, to_json(scores))
        made.metrics |= figures
    return made.metrics


def make_validation(
    recipe: Recipe, folder: RunFolder, suite: Path, models: Sequence[Candidate], device: Device
) -> dict[str, Any]:
    """Compare what `make_scores` has left, and publish; returns the stage's figures.

    Raises RunError models-too-few where one has no scores; InputError scores-differ; StorageError.
    """
    section, rows = validation_section_of(recipe), read_suite(suite / SUITE)
    receipts = {model.name: _receipt_of(folder, model.name) for model in models}
    of_suite = read_receipt(suite) or {}
    # scores by their own inputs: no byte of a model is read again; and all that is known of the rows
    inputs = content_hash([[r["inputs"] for r in receipts.values()], of_suite.get("inputs"), section.samples])
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    report_phase("comparison of the models")
    scored = {name: read_scores(folder.path / PARTS / name / SCORES, name) for name in receipts}
    told = {name: dict(receipt["metrics"]) for name, receipt in receipts.items()}
    main = next((name for name in _MAIN if name in scored), next(iter(scored)))
    base = "base" if "base" in scored else main
    known = of_suite.get("metrics", {})
    contamination = known.get("contamination", {})
    found = {
        **table_of(scored, told, rows, base, main, recorded_of(suite)),
        "contaminated": contamination.get("contaminated"),
        "contamination": contamination,
        "sources": known.get("sources", {}),
        "suite_sha256": sha256_of(suite / SUITE),
        "device": device.to_json(),
        "seconds": round(sum(each["seconds"] for each in told.values()), 2),
    }
    told_section = section.model_dump(mode="json")
    with new_artifact(folder.path / ARTIFACT, STAGE, inputs, told_section, recipe.seed) as made:
        for scores in scored.values():
            write_scores(made.path, scores)
        write_table(made.path, found, scored, rows, section.samples, section.seed)
        made.metrics |= found
    return made.metrics


@contextmanager
def judge_of(section: ValidationSection, rows: Sequence[BenchmarkRow]) -> Iterator[Judge]:
    """A judge with the sandbox that the recipe names, where there is code. Raises RunError sandbox-missing."""
    code = section.sandbox != "off" and any(row.scoring is Scoring.CODE for row in rows)
    with Judge(open_sandbox(section.sandbox) if code else None) as judge:
        yield judge


def _receipt_of(folder: RunFolder, name: str) -> dict[str, Any]:
    receipt = read_receipt(folder.path / PARTS / name)
    if receipt is None:
        raise RunError("models-too-few", f"{name} has not been scored")
    return receipt


def _inputs_of(section: ValidationSection, suite: Path, model: Candidate) -> str:
    """What scores are a function of: every byte of model and rows, the words around them, and the way of asking."""
    how = section.model_dump(mode="json", include=_HOW)
    return content_hash([how, FORM, hashes_of(model), sha256_of(suite / SUITE)])
