"""The suite of a run as an artifact, and the gate before anything is trained: no training row holds a benchmark's
question. It needs no torch.

    figures = make_suite(recipe, folder, Path("runs/demo/dataset"))

        suite/validation_test.jsonl      the rows that models are validated on
        suite/contaminated.jsonl         training rows that hold a question: number, benchmark, key, how
        suite/recorded.json              GPT-4's answers to the same rows, by benchmark, where they are at hand
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cogumi.errors import InputError, RunError
from cogumi.evaluate.contamination import ContaminationIndex, Hit, by_source
from cogumi.evaluate.reference import Recorded, read_recorded
from cogumi.evaluate.row import BenchmarkRow
from cogumi.evaluate.suite import SUITE, benchmark_files, build_suite, open_benchmarks, write_suite
from cogumi.phases import report_phase
from cogumi.recipe import Recipe, ValidationSection, content_hash
from cogumi.store.artifacts import held_metrics, new_artifact, verify
from cogumi.store.files import read_json, read_jsonl, sha256_of, write_json, write_jsonl
from cogumi.store.run_folder import RunFolder

STAGE = "make_suite"
ARTIFACT = "suite"
CONTAMINATED = "contaminated.jsonl"
RECORDED = "recorded.json"
_GIVEN = {"benchmarks", "recorded"}
_OF_THE_ROWS = _GIVEN | {"rows", "seed", "held_out_rows", "fresh_rows", "ranked_rows", "most_contaminated"}


def validation_section_of(recipe: Recipe) -> ValidationSection:
    """The recipe's section. Raises InputError stage-not-in-recipe where it has none."""
    if recipe.validation is None:
        raise InputError("stage-not-in-recipe", f"{recipe.name}: validation")
    return recipe.validation


def make_suite(recipe: Recipe, folder: RunFolder, dataset: Path) -> dict[str, Any]:
    """Build, check and publish; returns the figures `sources`, `rows` and `contamination`.

    Raises InputError stage-not-in-recipe, benchmark-*, suite-empty; RunError training-contaminated, with the rows in
    the run's folder; StorageError.
    """
    section = validation_section_of(recipe)
    inputs = _inputs(recipe, section, dataset)
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    report_phase("rows to validate on")
    checked = open_benchmarks(section.benchmarks)
    suite = build_suite(section, dataset, recipe.dataset.chat_format, tuple(recipe.dataset.cells), checked)
    benchmarks = {name: found.rows for name, found in checked.items()}
    report_phase("training rows against benchmark questions")
    rows, hits = contamination(dataset, benchmarks)
    if len(hits) > section.most_contaminated:
        write_jsonl(folder.path / CONTAMINATED, (asdict(hit) for hit in hits))
        told = f"{len(hits)} of {rows} rows, {section.most_contaminated} allowed; see {folder.path / CONTAMINATED}"
        raise RunError("training-contaminated", told)
    told_section = section.model_dump(mode="json", include=_OF_THE_ROWS)
    with new_artifact(folder.path / ARTIFACT, STAGE, inputs, told_section, recipe.seed) as made:
        write_suite(made.path / SUITE, suite.rows)
        write_jsonl(made.path / CONTAMINATED, (asdict(hit) for hit in hits))
        recorded = {name: read_recorded(place) for name, place in benchmark_files(section.recorded).items()}
        write_json(made.path / RECORDED, {name: asdict(found.of(suite.rows)) for name, found in recorded.items()})
        made.metrics |= {
            "rows": len(suite.rows), "sources": suite.sources,
            "contamination": {"rows": rows, "contaminated": len(hits), "by": by_source(hits),
                              "benchmarks": {name: len(known) for name, known in benchmarks.items()}},
        }  # fmt: skip
    return made.metrics


def contamination(dataset: Path, benchmarks: Mapping[str, Sequence[BenchmarkRow]]) -> tuple[int, list[Hit]]:
    """How many rows a dataset trains on, and those that hold a question of any row of these benchmarks."""
    file = dataset / "train.jsonl"
    texts = [(str(row["prompt"]), str(row["response"])) for row in (read_jsonl(file) if file.is_file() else ())]
    return len(texts), ContaminationIndex(benchmarks).look(texts) if benchmarks else []


def _inputs(recipe: Recipe, section: ValidationSection, dataset: Path) -> str:
    """What rows and gate are a function of: the section, the chat format, and every byte of dataset and benchmarks."""
    hashes = {name: entry["sha256"] for name, entry in verify(dataset)["files"].items() if name.endswith(".jsonl")}
    files = [
        (name, {file.name: sha256_of(file) for file in (sorted(place.glob("*.*")) if place.is_dir() else [place])})
        for named in (section.benchmarks, section.recorded)
        for name, place in benchmark_files(named).items()
    ]
    told = section.model_dump(mode="json", include=_OF_THE_ROWS - _GIVEN)
    return content_hash([told, recipe.dataset.chat_format, sorted(recipe.dataset.cells), hashes, files])


def recorded_of(suite: Path) -> dict[str, Recorded]:
    """What a suite's folder has of recorded answers."""
    file = suite / RECORDED
    return {name: Recorded(**found) for name, found in read_json(file).items()} if file.is_file() else {}
