"""`cogumi run train`: adapters meta-trained on a base model, by a run's dataset or a published one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi.cli.forecasts import forecast_adapters, forecast_json, told_of
from cogumi.cli.output import print_table, say, say_done, warn
from cogumi.cli.progress import progress
from cogumi.cli.training_progress import training_progress
from cogumi.cli.with_prefect import run_flow
from cogumi.errors import Interrupted, RunError
from cogumi.lm.chat import FORMATS
from cogumi.lm.device import device_label
from cogumi.metrics.formatting import interval, number, percent
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder, run_path
from cogumi.store.versions import Versions
from cogumi.training.claim import adapter_memory_gib, claim_for_adapters, train_section_of, training_is_installed
from cogumi.training.figures import held_out_prompts, held_out_tasks
from cogumi.training.request import TrainRequest, fetch_base, fetch_dataset
from cogumi.training.stopping import interruptible
from cogumi.training.watching import WATCHER


def run_train(request: TrainRequest, prefect: bool) -> dict[str, Any]:
    """Run the stage and return its figures."""
    section = train_section_of(request.load())
    try:
        with training_progress("train", usd_per_hour=section.usd_per_hour):
            return run_flow("train_models", request) if prefect else _in_process(request)
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None


def show_train_plan(request: TrainRequest, quiet: bool) -> dict[str, Any]:
    """The dry run, printed unless it is to be quiet: what would be trained and what it needs. Where dataset and base
    are at hand, they are read, and whatever is wrong with them is said.
    """
    recipe = request.load()
    section = train_section_of(recipe)
    with progress("train"):
        counted = _counted(request, recipe)
    told: dict[str, Any] = {
        "run": request.run, "preset": section.preset, "algorithm": section.algorithm,
        "memory_gib": round(adapter_memory_gib(recipe), 2), **counted,
    }  # fmt: skip
    expected = forecast_adapters(recipe, Path(request.root), told.get("tokens"))
    plan = {**told, "forecast": forecast_json(expected)}
    if quiet:
        return plan
    what = f"{section.algorithm} ({section.preset}), at least {told['memory_gib']:.1f} GiB"
    if "steps" in told:
        arms = " and as many of plain SFT" if section.sft_control and section.algorithm != "sft" else ""
        arms += f", each at {len(section.sweep)} learning rates" if len(section.sweep) > 1 else ""
        what += f", {told['steps']:,} steps of {told['tokens'] / told['steps']:,.0f} tokens{arms}, {told['tasks']}"
    say(f"adapter of {request.run}: {what}")
    say(f"  {told_of(expected)}")
    return plan


def show_adapter(request: TrainRequest, figures: dict[str, Any]) -> None:
    """What the stage made, and whether meta-training was worth it."""
    folder = run_path(Path(request.root), request.run)
    where = device_label(figures["device"])
    say_done(
        f"adapter of {figures['parameters'] / 1e6:,.2f}M parameters, {figures['steps']:,} steps on "
        f"{where}: held-out loss after adaptation {number(figures['loss_first'], '.3f')} before training, "
        f"{number(figures['loss_last'], '.3f')} now"
    )
    if "table" in figures:
        of = held_out_tasks(figures)
        rows = [
            [row["model"], row["way"], number(row["loss"], ".4f", of), number(row["gain"], "+.4f", of),
             interval(row["gain_ci95"], "+.4f", of)]
            for row in figures["table"]
        ]  # fmt: skip
        title = f"{figures['episodes']} held-out episodes of {figures['tasks']['test']} tasks, nats per token"
        print_table(title, ["model", "used", "loss", "gain", "95%"], rows)
        say(f"  {figures['verdict']}")
    if "thinking" in figures:
        rows = [
            [row["model"], row["difficulty"], number(row["prompts"], ","), percent(row["direct"], of=of),
             percent(row["thinks"], of=of), interval(row["thinks_ci95"], ".1%", of)]
            for row, of in ((row, held_out_prompts(row)) for row in figures["thinking"])
        ]  # fmt: skip
        columns = ["model", "difficulty", "prompts", "direct", "draft and thinking", "95%"]
        print_table("How held-out questions are answered", columns, rows)
    if "thinking_not_measured" in figures:
        warn("not counted when it thinks", figures["thinking_not_measured"])
    for name, why in figures["trackers_failed"].items():
        warn(f"{name} has no metrics of this run", why)
    place = figures.get("artifact") or folder / "adapter"
    say(f"  adapter: {place}")


def _counted(request: TrainRequest, recipe: Recipe) -> dict[str, Any]:
    """Steps, tokens and tasks; nothing where dataset or base are not on this machine yet."""
    if request.dataset or request.base or not training_is_installed():
        return {}
    path = run_path(Path(request.root), request.run)
    folder = RunFolder(path, request.run, resumed=True)
    try:
        place, _ = fetch_dataset(request, folder, None)
        source, _ = fetch_base(request, folder, None)
    except RunError:
        return {}
    from cogumi.training.adapters import open_model
    from cogumi.training.plan import plan_training

    plan = plan_training(recipe, place, open_model(recipe, source)[1])
    tasks = f"{len(plan.split.training)} tasks of {plan.rows:,} rows"
    return {"steps": plan.steps, "tokens": plan.tokens, "tasks": tasks}


def _in_process(request: TrainRequest) -> dict[str, Any]:
    recipe = request.load()
    device = claim_for_adapters(recipe)
    datasets = Versions(request.store, request.name) if request.dataset else None
    bases = Versions(request.store, request.base_name) if request.base else None
    watch = WATCHER.get()
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "train", request.change) as folder:
        request.keep(folder.path)
        dataset, base = fetch_dataset(request, folder, datasets), fetch_base(request, folder, bases)
        from cogumi.report.build import of_merging, write_report
        from cogumi.training.adapters import ModelInput
        from cogumi.training.base import DatasetInput
        from cogumi.training.merged import merge_trained
        from cogumi.training.together import train_together

        data, model = DatasetInput(*dataset), ModelInput(*base)
        figures = interruptible(lambda stop: train_together(recipe, folder, data, model, device, watch, stop))
        merged = merge_trained(folder, data.folder, model.source, FORMATS[recipe.dataset.chat_format])
        figures |= of_merging(merged)
        if request.dataset:
            for kind, name in (("adapter", request.models), ("merged", request.merged)):
                models = Versions(request.store, name)
                version = models.publish(folder.path / kind, folder.name)
                figures["artifact" if kind == "adapter" else kind] = f"{models.name}@{version.label}"
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)
    return figures
