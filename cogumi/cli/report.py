"""`cogumi report RUN`: write report.html and report.json again from what lies in the run's folder."""

from __future__ import annotations

from pathlib import Path

import typer

from cogumi.cli.output import JsonOption, print_json, say
from cogumi.cli.progress import progress
from cogumi.report.html import verdict
from cogumi.store.run_folder import RunFolder, ledger_url, read_run, run_path


def report(
    name: str = typer.Argument(help="The run."),
    root: Path = typer.Option(Path("runs"), "--root", help="Folder that holds the runs."),
    as_json: bool = JsonOption,
) -> None:
    """Write a run's report, complete or not yet."""
    folder = run_path(root, name)
    run = read_run(folder)
    from cogumi.dataset.lost_ledger import refuse_without_ledger
    from cogumi.report.build import write_report
    from cogumi.store.ledger import Ledger

    ledger = Ledger.view(ledger_url(folder), run["name"])
    try:
        refuse_without_ledger(RunFolder(folder, name, True), ledger)
    finally:
        ledger.close()

    with progress("report"):
        made = write_report(folder)
    if as_json:
        print_json(made)
        return
    say(verdict(made["stages"]["generate_dataset"]))
    say(str(folder / "report.html"))
