"""`cogumi run base`: a base model trained from scratch on a run's dataset, or on a published one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi.cli.forecasts import forecast_base, forecast_json, told_of
from cogumi.cli.output import say, say_done, warn
from cogumi.cli.training_progress import training_progress
from cogumi.cli.with_prefect import run_flow
from cogumi.errors import Interrupted
from cogumi.lm.device import device_label
from cogumi.metrics.formatting import number
from cogumi.store.run_folder import RunFolder, run_path
from cogumi.store.versions import Versions
from cogumi.training.claim import claim_for_base, memory_gib, section_of
from cogumi.training.request import BaseRequest, fetch_dataset
from cogumi.training.stopping import interruptible
from cogumi.training.watching import WATCHER


def run_base(request: BaseRequest, prefect: bool) -> dict[str, Any]:
    """Run the base stage and return its figures."""
    section_of(request.load())
    try:
        with training_progress("base"):
            return run_flow("pretrain_base", request) if prefect else _in_process(request)
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None


def show_plan(request: BaseRequest, quiet: bool) -> dict[str, Any]:
    """The dry run, printed unless it is to be quiet: what would be trained and what it needs. Raises InputError
    stage-not-in-recipe.
    """
    recipe = request.load()
    section = section_of(recipe)
    tokens = section.steps * section.batch_windows * section.seq_length
    need = memory_gib(section, recipe.dataset.tokenizer.vocab_size)
    expected = forecast_base(recipe, Path(request.root))
    if not quiet:
        say(f"base of {request.run}: {section.steps:,} steps, {tokens:,} tokens, {need:.1f} GiB")
        say(f"  {told_of(expected)}")
    plan = {"run": request.run, "steps": section.steps, "tokens": tokens, "memory_gib": round(need, 2)}
    return {**plan, "forecast": forecast_json(expected)}


def show_base(request: BaseRequest, figures: dict[str, Any]) -> None:
    """What the stage made, and whether it has learned anything."""
    folder = run_path(Path(request.root), request.run)
    where = device_label(figures["device"])
    say_done(
        f"base of {figures['parameters'] / 1e6:,.1f}M parameters, {figures['steps']:,} steps on "
        f"{where}: {number(figures['nll_last'], '.3f')} nats per held-out token; without context "
        f"{number(figures['nll_unigram'], '.3f')}"
    )
    if not figures["learned"]:
        warn("it has learned nothing of context", "more steps or more data")
    say(f"  model:   {figures.get('artifact') or folder / 'base'}")


def _in_process(request: BaseRequest) -> dict[str, Any]:
    recipe = request.load()
    device = claim_for_base(recipe)
    datasets = Versions(request.store, request.name) if request.dataset else None
    outer = WATCHER.get()
    with RunFolder.open(Path(request.root), request.run, recipe, request.command, "base", request.change) as folder:
        request.keep(folder.path)
        place, artifact_id = fetch_dataset(request, folder, datasets)
        from cogumi.report.build import write_report
        from cogumi.training.base import DatasetInput, make_base
        from cogumi.training.fitting import Step

        def watch(step: Step) -> None:
            outer("base", step)

        data = DatasetInput(place, artifact_id)
        figures = interruptible(lambda stop: make_base(recipe, folder, data, device, watch, stop))
        if request.dataset:
            models = Versions(request.store, request.models)
            version = models.publish(folder.path / "base", folder.name)
            figures = {**figures, "artifact": f"{models.name}@{version.label}"}
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)
    return figures
