"""`cogumi evaluate`: any models on the same rows, in one table with what may be said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from cogumi.cli.output import JsonOption, print_json, say
from cogumi.cli.progress import progress
from cogumi.cli.run_validate import show_table
from cogumi.errors import InputError
from cogumi.evaluate.claim import claim_for_models
from cogumi.evaluate.reference import read_recorded
from cogumi.evaluate.request import Candidate
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.evaluate.suite import SUITE, read_suite
from cogumi.phases import report_phase
from cogumi.recipe import MAX_SEED, ValidationSection
from cogumi.sandbox import Sandbox, open_sandbox


def evaluate(
    models: list[str] = typer.Argument(help="MODEL or NAME=MODEL, a folder or hub id; BASE+ADAPTER for both unmerged."),
    suite: Path = typer.Option(..., "--suite", "-s", help="Rows: a file of `benchmarks sample`, or a run's suite."),
    out: Path = typer.Option(Path("evaluation"), "--out", "-o", help="Folder for table, samples and every row."),
    max_new_tokens: int = typer.Option(512, "--max-new-tokens", min=1, max=32768, help="Tokens of an answer at most."),
    max_seq_length: int = typer.Option(2048, "--max-seq-length", min=8, max=131072, help="Tokens of a row at most."),
    choices: str = typer.Option("loglikelihood", "--choices", help="loglikelihood, or generation."),
    code_samples: int = typer.Option(1, "--code-samples", min=1, max=200, help="Answers to each program, for pass@k."),
    temperature: float = typer.Option(0.8, "--temperature", min=0.01, max=2, help="Of those answers."),
    sandbox: str = typer.Option("bubblewrap", "--sandbox", help="bubblewrap, docker, none; off: no judgement."),
    trusted: bool = typer.Option(False, "--i-trust-this-code", help="Allow --sandbox none. Never as root."),
    recorded: list[str] = typer.Option([], "--recorded", help="NAME=CSV of GPT-4's answers to a benchmark."),
    most_loss: float | None = typer.Option(
        None, "--gate", min=0, help="Accuracy that the last model may lose to the first; an error where it is more."
    ),
    seed: int = typer.Option(42, "--seed", min=0, max=MAX_SEED, help="Of sampled answers and samples shown."),
    as_json: bool = JsonOption,
) -> None:
    """Score models on the same rows and compare the others with the first, pair by pair."""
    if choices not in ("loglikelihood", "generation"):
        raise InputError("choices-unknown", repr(choices))
    named = _named(models)
    if most_loss is not None and len(named) < 2:
        raise InputError("models-too-few", "--gate is of the last model for the first")
    rows = read_suite(suite / SUITE if suite.is_dir() else suite)
    given = {name: read_recorded(Path(file)) for name, file in map(_pair, recorded)}
    judged_in = _sandbox(rows, sandbox, trusted)
    device = claim_for_models(named)
    first, last = named[0].name, named[-1].name
    with progress("evaluate"):
        from cogumi.evaluate.comparison import compare, gate
        from cogumi.evaluate.judging import Judge
        from cogumi.evaluate.scoring import score_candidate
        from cogumi.evaluate.table import table_of, write_scores, write_table

        how = ValidationSection.model_validate({
            "max_new_tokens": max_new_tokens, "max_seq_length": max_seq_length, "choices": choices,
            "code_samples": code_samples, "temperature": temperature, "seed": seed,
        })  # fmt: skip
        scored, told = {}, {}
        with Judge(judged_in) as judge:
            for model in named:
                scored[model.name], told[model.name] = score_candidate(model, device, rows, how, judge)
                write_scores(out, scored[model.name])  # so that what was read is kept, whatever becomes of the next
        report_phase("comparison of the models")
        found: dict[str, Any] = {
            **table_of(scored, told, rows, first, last, given), "contaminated": None, "device": device.to_json()
        }  # fmt: skip
        write_table(out, found, scored, rows, how.samples, seed)
    if not as_json:
        show_table(found)
        say(f"  {out}")
    if most_loss is not None and first != last:
        gate(compare(scored[last], scored[first]), most_loss)
    if as_json:  # where the gate has refused, the error is the document
        print_json(found)


def _named(models: list[str]) -> list[Candidate]:
    """Raises InputError models-same-name."""
    found: dict[str, Candidate] = {}
    for given in models:
        name, separator, place = given.partition("=")
        if not separator:
            name, place = Path(given.partition("+")[0]).name, given
        source, _, adapter = place.partition("+")
        if name in found:
            raise InputError("models-same-name", f"{name}: {found[name].source} and {source}")
        found[name] = Candidate(name, source, adapter, place)
    return list(found.values())


def _pair(given: str) -> tuple[str, str]:
    name, separator, file = given.partition("=")
    if not separator:
        raise InputError("reference-unreadable", f"{given!r}: write NAME=CSV")
    return name, file


def _sandbox(rows: list[BenchmarkRow], name: str, trusted: bool) -> Sandbox | None:
    """None where no row is code, or it is not to be judged. Raises as open_sandbox."""
    if name == "off" or not any(row.scoring is Scoring.CODE for row in rows):
        return None
    return open_sandbox(name, trusted)
