"""`cogumi ledger`: totals, backup and restore."""

from __future__ import annotations

from pathlib import Path

import typer

from cogumi.cli.output import JsonOption, print_json, print_table, say
from cogumi.cli.progress import progress
from cogumi.errors import RunError
from cogumi.metrics.formatting import counted
from cogumi.store.run_folder import RunFolder, ledger_url, name_in_ledger, read_run, run_path

app = typer.Typer(help="The record of every call: totals, backup, restore.", no_args_is_help=True)
_ROOT = typer.Option(Path("runs"), "--root", help="Folder that holds the runs.")


@app.command("show")
def show(name: str = typer.Argument(help="The run."), root: Path = _ROOT, as_json: bool = JsonOption) -> None:
    """Attempts and money by stage, model and state."""
    folder = run_path(root, name)
    read_run(folder)
    from cogumi.dataset.lost_ledger import refuse_without_ledger
    from cogumi.store.ledger import Ledger

    ledger = Ledger.view(ledger_url(folder), name_in_ledger(folder))
    try:
        refuse_without_ledger(RunFolder(folder, name, True), ledger)
        rows = ledger.table("stage", "model", "state")
    finally:
        ledger.close()
    if as_json:
        print_json(rows)
        return
    shown = [
        [
            r["stage"],
            r["model"],
            r["state"],
            r["attempts"],
            r["cost_nanousd"] / 1e9,
            r["at_risk_nanousd"] / 1e9,
        ]
        for r in rows
    ]
    print_table(
        f"Ledger of {name}", ["stage", "model", "state", "attempts", "cost_usd", "at_risk_usd"], shown, decimals=4
    )


@app.command("backup")
def backup_command(
    name: str = typer.Argument(help="The run."),
    destination: Path = typer.Argument(help="New SQLite file."),
    root: Path = _ROOT,
    as_json: bool = JsonOption,
) -> None:
    """Copy a run's ledger into one file, consistent even while the run goes on."""
    folder = run_path(root, name)
    read_run(folder)
    from cogumi.store.backup import backup

    with progress("ledger backup"):
        copied = backup(ledger_url(folder), name_in_ledger(folder), destination)
    _say(
        {"attempts": copied, "file": str(destination)},
        f"{counted(copied, 'attempt')} copied to {destination}",
        as_json,
    )


@app.command("restore")
def restore_command(
    source: Path = typer.Argument(help="A file made by backup."),
    name: str = typer.Option(
        ..., "--to", help="The run whose ledger is restored; its folder must exist and hold no ledger."
    ),
    root: Path = _ROOT,
    as_json: bool = JsonOption,
) -> None:
    """Copy a backup into a run that lost its ledger."""
    folder = run_path(root, name)
    read_run(folder)
    from cogumi.store.backup import restore, runs_in

    held = runs_in(source)
    if not held:
        raise RunError("run-not-found", f"{source} holds no run")
    with progress("ledger restore"):
        called = name_in_ledger(folder)
        copied = restore(source, called if called in held else held[0], ledger_url(folder), called)
    _say({"attempts": copied, "run": name}, f"{counted(copied, 'attempt')} restored into {name}", as_json)


def _say(value: dict[str, object], words: str, as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        say(words)
