"""`cogumi run validate`: the run's models on the same rows, compared pair by pair."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress, SpinnerColumn, TextColumn

from cogumi.cli.output import console, print_json, table
from cogumi.cli.with_prefect import run_flow
from cogumi.errors import Interrupted
from cogumi.evaluate.claim import check_validation, claim_for_validation
from cogumi.evaluate.request import ValidateRequest, fetch_models, fetch_suite
from cogumi.evaluate.shown import between, number, share
from cogumi.evaluate.suite import open_benchmarks
from cogumi.evaluate.suite_stage import make_suite, validation_section_of
from cogumi.lm.device import device_label
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder, run_path
from cogumi.store.versions import Versions
from cogumi.training.request import fetch_dataset


def run_validate(request: ValidateRequest, prefect: bool, quiet: bool) -> dict[str, Any]:
    """Run the stage and return its figures."""
    validation_section_of(request.load())
    try:
        return run_flow("validate_model", request) if prefect else _in_process(request, quiet)
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None


def check_rows(request: ValidateRequest, recipe: Recipe) -> None:
    """The rows to validate on, before anything is trained. Raises RunError training-contaminated, as make_suite."""
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "suite") as folder:
        make_suite(recipe, folder, folder.dataset)


def show_validate_plan(request: ValidateRequest, as_json: bool) -> None:
    """The dry run: which rows, and how many tokens may be written. Files are checked, no model is opened."""
    recipe = request.load()
    section = validation_section_of(recipe)
    check_validation(recipe)
    sources = {
        name: min(section.rows, len(checked.rows)) for name, checked in open_benchmarks(section.benchmarks).items()
    }
    sources |= {"held-out, at most": section.held_out_rows, "fresh": section.fresh_rows, "ranked": section.ranked_rows}
    written = sum(sources.values()) - section.ranked_rows
    told = {"run": request.run, "rows": sources, "tokens_at_most": written * section.max_new_tokens}
    if as_json:
        print_json(told)
        return
    shown = ", ".join(f"{count:,} {name}" for name, count in sources.items() if count)
    console.print(
        f"validation of {request.run}: {shown}; each model writes {told['tokens_at_most']:,} tokens at most",
        highlight=False,
    )


def show_validation(request: ValidateRequest, figures: dict[str, Any]) -> None:
    """The table and the verdict."""
    show_table(figures)
    folder = run_path(Path(request.root), request.run)
    place = figures.get("artifact") or folder / "validation"
    console.print(f"  validation: {place}", highlight=False, soft_wrap=True)


def show_table(figures: dict[str, Any]) -> None:
    """Models, pairs, and what is said of them."""
    named = [(name, figures["models"][name]) for name in figures["names"]]
    rows = [
        [name, share(found["accuracy"]), between(found["ci95"]), found["n"], number(found["nll"]),
         number(found["ppl"]), number(found["bits_per_byte"])]
        for name, found in named
    ]  # fmt: skip
    title = f"{figures['rows']:,} rows on {device_label(figures['device'])}"
    console.print(table(title, ["model", "accuracy", "95%", "judged", "nll", "ppl", "bits/byte"], rows))
    for name, found in named:
        lost = _lost(found["outcomes"])
        if lost:
            console.print(f"  {name}: {lost}", highlight=False)
        for k, of in found["pass_at"].items():
            console.print(f"  {name}: pass@{k} {share(of)}, sampled", highlight=False)
    for pair in figures["comparisons"]:
        accuracy, bits = pair["accuracy"], pair["bits_per_byte"]
        told = []
        if accuracy:
            ends = between([accuracy["low"], accuracy["high"]], "+")
            power = f"five points would be seen {share(accuracy['power_of_5_points'])} of the time"
            told.append(f"accuracy {share(accuracy['mean'], '+')} ({ends}, p = {accuracy['p']:.3g}; {power})")
        if bits:
            told.append(f"bits a byte {bits['mean']:+.4f} ({pair['likelihood_verdict']})")
        console.print(
            f"  {pair['one']} over {pair['other']}: [bold]{pair['verdict']}[/]; {'; '.join(told)}", highlight=False
        )
    for source, found in figures["relative_to_gpt4"].items():
        of = f"{found['model']}, {found['of']}" + (f", {found['date']}" if "date" in found else "")
        console.print(f"  {source}: {share(found['relative'])} of GPT-4's ({of})", highlight=False)
    if figures["contaminated"] is not None:
        console.print(f"  training rows with a benchmark's question: {figures['contaminated']}", highlight=False)


def _in_process(request: ValidateRequest, quiet: bool) -> dict[str, Any]:
    recipe = request.load()
    if not request.suite:
        check_validation(recipe)
    opened = partial(Versions, request.store)
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "validate") as folder:
        request.keep(folder.path)
        models = fetch_models(request, recipe, folder, opened)
        device = claim_for_validation(recipe, models)
        from cogumi.evaluate.stage import make_scores, make_validation
        from cogumi.report.build import write_report

        suite = fetch_suite(request, folder, opened)
        if suite is None:
            data = fetch_dataset(request, folder, opened(request.name) if request.dataset else None)
            make_suite(recipe, folder, data[0])
            suite = folder.path / "suite"
        columns = (SpinnerColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
            line = progress.add_task("")
            for model in models:

                def told(what: str, done: int, of: int, name: str = model.name) -> None:
                    progress.update(line, description=f"{name}: {what}, {of:,} rows")

                make_scores(recipe, folder, suite, model, device, told)
        figures = {**make_validation(recipe, folder, suite, models, device), "dataset": request.dataset or request.run}
        if request.dataset:
            validations = opened(request.models)
            version = validations.publish(folder.path / "validation", folder.name)
            figures = {**figures, "artifact": f"{validations.name}@{version.label}"}
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)
    return figures


def _lost(outcomes: dict[str, int]) -> str:
    named = ((what, outcomes.get(what, 0)) for what in ("truncated", "refused", "unparsed", "unjudged"))
    return ", ".join(f"{count} {what}" for what, count in named if count)
