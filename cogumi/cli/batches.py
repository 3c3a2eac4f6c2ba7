"""`cogumi batches RUN`: the batches of a run at its providers, and cancelling the open ones."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import typer

from cogumi.cli.output import JsonOption, print_json, print_table, say
from cogumi.cli.progress import progress
from cogumi.dataset.request import DatasetRequest
from cogumi.recipe import stored_recipe
from cogumi.store.run_folder import RunFolder, ledger_url, name_in_ledger, read_run, run_path


def batches(
    name: str = typer.Argument(help="The run."),
    cancel: bool = typer.Option(False, "--cancel", help="Ask the providers to stop the open ones."),
    root: Path = typer.Option(Path("runs"), "--root", help="Folder that holds the runs."),
    as_json: bool = JsonOption,
) -> None:
    """List a run's batches. What a cancelled one had answered is still read when the run is resumed."""
    folder = run_path(root, name)
    from cogumi.dataset.cancel import cancel_batches
    from cogumi.dataset.lost_ledger import refuse_without_ledger
    from cogumi.store.ledger import Ledger

    run = read_run(folder)
    recipe = stored_recipe(run["recipe"], run["format"])
    ledger = Ledger.view(ledger_url(folder), name_in_ledger(folder))
    try:
        refuse_without_ledger(RunFolder(folder, name, True), ledger)
        with progress("batches"):
            cancelled = asyncio.run(cancel_batches(DatasetRequest(run=name, root=str(root)), recipe)) if cancel else []
        found = ledger.batches()
    finally:
        ledger.close()
    if as_json:
        print_json({"batches": [asdict(batch) for batch in found], "cancelled": [batch.label for batch in cancelled]})
        return
    rows = [[b.stage, b.provider, b.provider_id or b.label, b.state, b.requests, b.succeeded, b.failed] for b in found]
    columns = ["stage", "provider", "batch", "state", "requests", "succeeded", "failed"]
    print_table(f"Batches of {name}", columns, rows)
    if cancel:
        say(f"{len(cancelled)} cancelled")
