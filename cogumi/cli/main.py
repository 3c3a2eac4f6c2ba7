"""`cogumi`: the typer application, and the one place where errors become exit codes.

Exit codes: 0 done, 1 internal error, 2 input, 3 storage, 4 run, 5 budget, 6 teacher, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import ClassVar

import typer

from cogumi import __version__
from cogumi.cli.lazy_group import LazyGroup, Source
from cogumi.errors import CogumiError


class Commands(LazyGroup):
    """Every command; a summary is the first paragraph of the command's own help."""

    SOURCES: ClassVar[dict[str, Source]] = {
        "demo": Source(
            "cogumi.cli.demo:demo",
            "Make 800 judged, answered rows through a loopback provider with 2% faults, train three models, and "
            "report.",
        ),
        "run": Source(
            "cogumi.cli.run_stage:run",
            "Run a stage. The same command again resumes it and buys only what is missing.",
        ),
        "adapt": Source(
            "cogumi.cli.adapt:adapt",
            "Adapt to examples of one task, and write the adapter for it as a folder that PEFT reads.",
        ),
        "merge": Source(
            "cogumi.cli.merge:merge",
            "Fold an adapter into its base: a folder that transformers loads by itself, in the base's precision.",
        ),
        "push": Source(
            "cogumi.cli.push:push", "Send an artifact to a model hub, in one commit, checked before and after."
        ),
        "evaluate": Source(
            "cogumi.cli.evaluate:evaluate",
            "Score models on the same rows and compare the others with the first, pair by pair.",
        ),
        "report": Source("cogumi.cli.report:report", "Write a run's report, complete or not yet."),
        "bench": Source("cogumi.cli.bench:bench", "Measure, and compare with the baselines in the same run."),
        "doctor": Source("cogumi.cli.doctor:doctor", "Run every check; exit code 1 if one fails."),
        "batches": Source(
            "cogumi.cli.batches:batches",
            "List a run's batches. What a cancelled one had answered is still read when the run is resumed.",
        ),
        "up": Source(
            "cogumi.cli.stack:up",
            "Start server and workers, and make pools, queues, blocks, automations and deployments. Again: mend what "
            "is gone; what is not given stays as it was.",
        ),
        "down": Source(
            "cogumi.cli.stack:down",
            "End workers and server. What a run has bought stays: the next run goes on with it.",
        ),
        "status": Source(
            "cogumi.cli.stack:status", "Whether server and workers are there, and where the dashboard is."
        ),
        "resume": Source(
            "cogumi.cli.stack:resume",
            "Go on with a run that was stopped, crashed or failed; nothing is bought twice.",
        ),
        "teacher": Source("cogumi.cli.teacher:app", "The embedded teacher."),
        "artifacts": Source("cogumi.cli.artifacts:app", "Published artifacts and their receipts."),
        "ledger": Source("cogumi.cli.ledger:app", "The record of every call: totals, backup, restore."),
        "versions": Source("cogumi.cli.versions:app", "Published versions of a dataset."),
        "review": Source("cogumi.cli.review:app", "Review rows by people, and carry out what they decide."),
        "benchmarks": Source("cogumi.cli.benchmarks:app", "Benchmarks: what a file is, and the rows to validate on."),
    }


app = typer.Typer(
    name="cogumi",
    cls=Commands,
    help="From an open 8B model to a small, complete, adaptable system, as Prefect flows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def top(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """From an open 8B model to a small, complete, adaptable system, as Prefect flows."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def run() -> None:
    """The entry point of the `cogumi` command."""
    if sys.argv[1:] == ["--version"]:  # as `top` does; building the parser takes twice as long as all the rest
        typer.echo(__version__)
        return
    as_json = "--json" in sys.argv
    try:
        app()
    except CogumiError as error:
        from cogumi.cli.output import print_error

        _show_traceback()
        print_error(error, as_json)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last stop; COGUMI_TRACEBACK=1 shows it
        from cogumi.cli.output import console

        _show_traceback()
        console.print(
            f"[bold red]internal error[/] {type(error).__name__}: run again with COGUMI_TRACEBACK=1 and report it",
            highlight=False,
        )
        sys.exit(1)


def _show_traceback() -> None:
    if os.environ.get("COGUMI_TRACEBACK"):
        traceback.print_exc()


if __name__ == "__main__":
    run()
