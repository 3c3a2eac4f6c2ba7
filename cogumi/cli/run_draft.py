"""`cogumi run draft`: a draft model for speculative decoding, trained on what its target writes, and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi.cli.forecasts import forecast_draft, forecast_json, told_of
from cogumi.cli.output import print_table, say, say_done
from cogumi.cli.training_progress import training_progress
from cogumi.cli.with_prefect import run_flow
from cogumi.errors import Interrupted
from cogumi.lm.device import device_label
from cogumi.metrics.formatting import interval, number, percent
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder, run_path
from cogumi.store.versions import Versions
from cogumi.training.claim import claim_for_draft, draft_memory_gib, draft_section_of
from cogumi.training.figures import held_out_prompts, held_out_tasks
from cogumi.training.request import DraftRequest, fetch_dataset, fetch_target
from cogumi.training.stopping import interruptible
from cogumi.training.watching import WATCHER


def run_draft(request: DraftRequest, prefect: bool) -> dict[str, Any]:
    """Run the stage and return its figures."""
    draft_section_of(request.load())
    try:
        with training_progress("draft"):
            return run_flow("train_draft", request) if prefect else _in_process(request)
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None


def show_draft_plan(request: DraftRequest, quiet: bool) -> dict[str, Any]:
    """The dry run, printed unless it is to be quiet: steps of each part, and memory where the target is at hand."""
    recipe = request.load()
    section = draft_section_of(recipe)
    more = section.offline_steps + section.rounds * section.round_steps
    told: dict[str, Any] = {
        "run": request.run, "sft_steps": section.sft_steps, "distillation_steps": more,
        "control_steps": more if section.sft_control else 0, "rows_per_step": section.rows_per_step,
    }  # fmt: skip
    told["memory_gib"] = _memory(request, recipe)
    expected = None if request.target else forecast_draft(recipe, Path(request.root))
    plan = {**told, "forecast": forecast_json(expected)}
    if quiet:
        return plan
    memory = "" if told["memory_gib"] is None else f", about {told['memory_gib']:.1f} GiB"
    say(
        f"draft of {request.run}: {section.sft_steps:,} steps on teacher text, {more:,} on the target's, "
        f"{told['control_steps']:,} of the control, {section.rows_per_step} rows each{memory}"
    )
    say(f"  {told_of(expected)}")
    return plan


def show_draft(request: DraftRequest, figures: dict[str, Any]) -> None:
    """What the stage made, and whether distillation was worth it."""
    of, tasks = held_out_prompts(figures), held_out_tasks(figures)
    folder = run_path(Path(request.root), request.run)
    say_done(
        f"draft of {figures['parameters'] / 1e6:,.2f}M parameters for {figures['target']} on "
        f"{device_label(figures['device'])}: proposals taken: {percent(figures['draft_alpha'], of=of)}; "
        f"tokens per round of {figures['proposals']} proposals: {number(figures['draft_acceptance_length'], '.2f', of)}"
    )
    if "transplant" in figures:
        say(
            "  the target's vocabulary instead of its own: {same:,} tokens the same, {spelled:,} spelled by "
            "{pieces} pieces, {stand_in} by part, {unknown:,} unknown".format(
                pieces=number(figures["transplant"]["mean_pieces"]), **figures["transplant"]
            )
        )
    rows = [
        [row["draft"], row["decoding"], number(row["alpha"], ".3f", of), number(row["length"], ".3f", of),
         interval(row["length_ci95"], ".3f", tasks), percent(row["share"], of=of)]
        for row in figures["table"]
    ]  # fmt: skip
    title = f"{figures['prompts']} held-out prompts, {figures['proposals']} proposals per round"
    print_table(title, ["draft", "decoding", "alpha", "tokens per round", "95%", "taken"], rows)
    say(f"  {figures['verdict']}")
    place = figures.get("artifact") or folder / "draft"
    say(f"  draft:   {place}")


def _memory(request: DraftRequest, recipe: Recipe) -> float | None:
    """GiB; None where the target is not on this machine yet."""
    return None if request.target else round(draft_memory_gib(recipe), 2)


def _in_process(request: DraftRequest) -> dict[str, Any]:
    recipe = request.load()
    datasets = Versions(request.store, request.name) if request.dataset else None
    targets = Versions(request.store, request.target_name) if request.target else None
    watch = WATCHER.get()
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "draft", request.change) as folder:
        request.keep(folder.path)
        target = fetch_target(request, folder, targets)
        device = claim_for_draft(recipe, target[0])
        dataset = fetch_dataset(request, folder, datasets)
        from cogumi.report.build import write_report
        from cogumi.training.adapters import ModelInput
        from cogumi.training.base import DatasetInput
        from cogumi.training.draft.stage import make_draft

        data, model = DatasetInput(*dataset), ModelInput(*target)
        figures = interruptible(lambda stop: make_draft(recipe, folder, data, model, device, watch, stop))
        if request.dataset:
            models = Versions(request.store, request.models)
            version = models.publish(folder.path / "draft", folder.name)
            figures = {**figures, "artifact": f"{models.name}@{version.label}"}
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)
    return figures
