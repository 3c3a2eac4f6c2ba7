"""`cogumi demo`: the main job, offline, on a CPU, without a key."""

from __future__ import annotations

from pathlib import Path

import typer

from cogumi.cli.output import JsonOption, note
from cogumi.cli.run_dataset import request_for
from cogumi.cli.run_stage import STAGES, run_stages
from cogumi.errors import InputError
from cogumi.training.claim import training_is_installed


def demo(
    only: str = typer.Option("", "--only", help=f"Up to one stage of: {', '.join(STAGES)}."),
    name: str = typer.Option("demo", "--run", help="Name of the run."),
    root: Path = typer.Option(Path("runs"), "--root", help="Folder that holds the runs."),
    no_prefect: bool = typer.Option(False, "--no-prefect", help="In this process, without Prefect."),
    as_json: bool = JsonOption,
) -> None:
    """Make 800 judged, answered rows through a loopback provider with 2% faults, train three models, and report."""
    if only and only not in STAGES:
        raise InputError("stage-unknown", f"{only!r}; there are {', '.join(STAGES)}")
    request = request_for("demo", name, [], [], root)
    if not as_json:
        note("demo: 800 rows, 8 domains, 40% easy and 60% hard, 2% faults on the wire")
    last = only or (STAGES[-1] if training_is_installed() else "dataset")
    run_stages(request, last, prefect=not no_prefect, as_json=as_json)
    if not only and last == "dataset" and not as_json:
        note("no models: torch is not installed (pip install 'cogumi[train]')")
