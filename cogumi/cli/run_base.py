"""`cogumi run base`: a base model trained from nothing on a run's dataset, or on a published one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cogumi.cli.output import console
from cogumi.errors import InputError, Interrupted
from cogumi.lm.device import claim_device
from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder, run_path
from cogumi.store.versions import Versions
from cogumi.training.request import MODELS, BaseRequest, fetch_dataset
from cogumi.training.stopping import interruptible


def run_base(request: BaseRequest, prefect: bool, quiet: bool) -> dict[str, Any]:
    """Run the base stage and return its figures."""
    try:
        return _with_prefect(request) if prefect else _in_process(request, quiet)
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None


def show_base(request: BaseRequest, figures: dict[str, Any]) -> None:
    """What the stage made, and whether it has learned anything."""
    folder = run_path(Path(request.root), request.run)
    device = figures["device"]
    where = f"{device['name']}{' (simulated)' if device['simulated'] else ''}"
    console.print(
        f"[bold green]done[/] base of {figures['parameters'] / 1e6:,.1f}M parameters, {figures['steps']:,} steps on "
        f"{where}: {figures['nll_last']:.3f} nats a held-out token; without context {figures['nll_unigram']:.3f}",
        highlight=False,
    )
    if not figures["learned"]:
        console.print("[yellow]it has learned nothing of context[/]: more steps or more data", highlight=False)
    console.print(f"  model:   {figures.get('artifact') or folder / 'base'}", highlight=False, soft_wrap=True)


def prefect_settings() -> None:
    """Quiet, patient and private, unless the user has said otherwise; read by Prefect when it is imported."""
    settings = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",  # the dashboard gets everything
        "DO_NOT_TRACK": "1",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _with_prefect(request: BaseRequest) -> dict[str, Any]:
    prefect_settings()
    try:
        from flows.pretrain_base import pretrain_base
    except ModuleNotFoundError as error:
        raise InputError("from-wheel", str(error)) from None
    return pretrain_base(request)


def _in_process(request: BaseRequest, quiet: bool) -> dict[str, Any]:
    try:
        from cogumi.training.base import DatasetInput, make_base, memory_gib, section_of
        from cogumi.training.pretrain import Step
    except ModuleNotFoundError as error:
        raise InputError("torch-missing", str(error)) from None
    recipe = request.load()
    section = section_of(recipe)
    device = claim_device(memory_gib(section, recipe.dataset.tokenizer.vocab_size), allow_cpu=True)
    datasets = Versions(request.store, request.name) if request.dataset else None
    columns = (TextColumn("base"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with (
        RunFolder.open(Path(request.root), request.run, recipe, request.command, "base") as folder,
        Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet) as bar,
    ):
        request.keep(folder.path)
        place, artifact_id = fetch_dataset(request, folder, datasets)
        line = bar.add_task("base", total=section.steps, told="")

        def watch(step: Step) -> None:
            told = f"loss {step.loss:.3f}, {step.tokens_per_s:,.0f} tokens/s"
            bar.update(line, completed=step.step, told=told)

        data = DatasetInput(place, artifact_id)
        figures = interruptible(lambda stop: make_base(recipe, folder, data, device, watch, stop))
        if request.dataset:
            models = Versions(request.store, f"{request.name}{MODELS}")
            version = models.publish(folder.path / "base", folder.name)
            figures = {**figures, "artifact": f"{models.name}@{version.label}"}
        if (folder.dataset / "receipt.json").is_file():
            write_report(folder.path)
    return figures
