"""`cogumi run validate`: the run's models on the same rows, compared pair by pair."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from cogumi.cli.output import print_table, say
from cogumi.cli.progress import progress
from cogumi.cli.with_prefect import run_flow
from cogumi.errors import Interrupted
from cogumi.evaluate.claim import check_validation, claim_for_validation
from cogumi.evaluate.figures import compared_rows, judged_rows, read_tokens, verdict_text
from cogumi.evaluate.request import ValidateRequest, fetch_models, fetch_suite
from cogumi.evaluate.suite import open_benchmarks
from cogumi.evaluate.suite_stage import make_suite, validation_section_of
from cogumi.lm.device import device_label
from cogumi.metrics.formatting import interval, number, percent
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder, changes_of_run, read_run, run_path
from cogumi.store.versions import Versions
from cogumi.training.request import fetch_dataset


def run_validate(request: ValidateRequest, prefect: bool) -> dict[str, Any]:
    """Run the stage and return its figures."""
    validation_section_of(request.load())
    try:
        with progress("validate"):
            return run_flow("validate_model", request) if prefect else _in_process(request)
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None


def check_rows(request: ValidateRequest, recipe: Recipe) -> None:
    """The rows to validate on, before anything is trained, so by the run's own recipe for what is to be trained. Raises
    RunError training-contaminated, as make_suite.
    """
    path = run_path(Path(request.root), request.run)
    recipe = changes_of_run(path, read_run(path), recipe).only_for(request.stage)
    opened = RunFolder.open(Path(request.root), request.run, recipe, request.command, "suite", request.change)
    with progress("validate"), opened as folder:
        make_suite(recipe, folder, folder.dataset)


def show_validate_plan(request: ValidateRequest, quiet: bool) -> dict[str, Any]:
    """The dry run, printed unless it is to be quiet: which rows, and how many tokens may be written. Files are checked,
    no model is opened.
    """
    recipe = request.load()
    section = validation_section_of(recipe)
    check_validation(recipe)
    sources = {
        name: min(section.rows, len(checked.rows)) for name, checked in open_benchmarks(section.benchmarks).items()
    }
    sources |= {"held-out, at most": section.held_out_rows, "fresh": section.fresh_rows, "ranked": section.ranked_rows}
    written = sum(sources.values()) - section.ranked_rows
    told = {"run": request.run, "rows": sources, "tokens_at_most": written * section.max_new_tokens}
    if not quiet:
        shown = ", ".join(f"{count:,} {name}" for name, count in sources.items() if count)
        say(f"validation of {request.run}: {shown}; each model writes {told['tokens_at_most']:,} tokens at most")
    return told


def show_validation(request: ValidateRequest, figures: dict[str, Any]) -> None:
    """The table and the verdict."""
    show_table(figures)
    folder = run_path(Path(request.root), request.run)
    place = figures.get("artifact") or folder / "validation"
    say(f"  validation: {place}")


def show_table(figures: dict[str, Any]) -> None:
    """Models, pairs, and what is said of them."""
    named = [(name, figures["models"][name]) for name in figures["names"]]
    rows = [
        [name, percent(found["accuracy"], of=right), interval(found["ci95"], ".1%", right), found["n"],
         *(number(found[figure], of=read) for figure in ("nll", "ppl", "bits_per_byte"))]
        for name, found, right, read in ((name, f, judged_rows(f), read_tokens(f)) for name, f in named)
    ]  # fmt: skip
    title = f"{figures['rows']:,} rows on {device_label(figures['device'])}"
    print_table(title, ["model", "accuracy", "95%", "judged", "nll", "ppl", "bits/byte"], rows)
    for name, found in named:
        lost = _lost(found["outcomes"])
        if lost:
            say(f"  {name}: {lost}")
        for k, of in found["pass_at"].items():
            say(f"  {name}: pass@{k} {percent(of)}, sampled")
    for pair in figures["comparisons"]:
        accuracy, bits = pair["accuracy"], pair["bits_per_byte"]
        told = []
        if accuracy:
            of = compared_rows(accuracy)
            ends = interval((accuracy["low"], accuracy["high"]), "+.1%", of)
            power = f"five points would be seen {percent(accuracy['power_of_5_points'])} of the time"
            mean, p = percent(accuracy["mean"], "+.1%", of), number(accuracy["p"], ".3g", of)
            told.append(f"accuracy {mean} ({ends}, p = {p}; {power})")
        if bits:
            mean = number(bits["mean"], "+.4f", compared_rows(bits))
            told.append(f"bits a byte {mean} ({pair['likelihood_verdict']})")
        found = verdict_text(pair["verdict"], pair.get("shortage", ""))
        say(f"  {pair['one']} over {pair['other']}: ", (found, "bold"), f"; {'; '.join(told)}")
    for source, found in figures["relative_to_gpt4"].items():
        of = f"{found['model']}, {found['of']}" + (f", {found['date']}" if "date" in found else "")
        say(f"  {source}: {percent(found['relative'])} of GPT-4's ({of})")
    if figures["contaminated"] is not None:
        say(f"  training rows with a benchmark's question: {figures['contaminated']}")


def _in_process(request: ValidateRequest) -> dict[str, Any]:
    recipe = request.load()
    if not request.suite:
        check_validation(recipe)
    opened = partial(Versions, request.store)
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "validate", request.change) as folder:
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
        for model in models:
            make_scores(recipe, folder, suite, model, device)
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
