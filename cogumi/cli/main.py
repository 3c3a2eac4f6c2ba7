"""`cogumi`: the typer application, and the one place where errors become exit codes.

Exit codes: 0 done, 1 internal error, 2 input, 3 storage, 4 run, 5 budget, 6 teacher, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback

import typer

from cogumi import __version__
from cogumi.cli import (
    adapt,
    artifacts,
    batches,
    bench,
    benchmarks,
    compare_prompts,
    demo,
    doctor,
    evaluate,
    ledger,
    merge,
    push,
    report,
    review,
    run_commands,
    stack,
    teacher,
    versions,
)
from cogumi.cli.output import note, print_error, say
from cogumi.errors import CogumiError

app = typer.Typer(
    name="cogumi",
    help="From an open 8B model to a small, complete, adaptable system, as Prefect flows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.add_typer(run_commands.app, name="run")
app.command("compare-prompts")(compare_prompts.compare_prompts)
app.command("adapt")(adapt.adapt)
app.command("merge")(merge.merge)
app.command("push")(push.push)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.add_typer(teacher.app, name="teacher")
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(ledger.app, name="ledger")
app.add_typer(versions.app, name="versions")
app.add_typer(review.app, name="review")
app.add_typer(benchmarks.app, name="benchmarks")
app.command("batches")(batches.batches)
app.command("up")(stack.up)
app.command("down")(stack.down)
app.command("status")(stack.status)
app.command("resume")(stack.resume)


@app.callback(invoke_without_command=True)
def top(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """From an open 8B model to a small, complete, adaptable system, as Prefect flows."""
    if version:
        say(__version__)
        raise typer.Exit


def run() -> None:
    """The entry point of the `cogumi` command."""
    as_json = "--json" in sys.argv
    try:
        app()
    except CogumiError as error:
        _show_traceback()
        print_error(error, as_json)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last stop; COGUMI_TRACEBACK=1 shows it
        _show_traceback()
        note(
            ("internal error", "bold red"), f" {type(error).__name__}: run again with COGUMI_TRACEBACK=1 and report it"
        )
        sys.exit(1)


def _show_traceback() -> None:
    if os.environ.get("COGUMI_TRACEBACK"):
        traceback.print_exc()


if __name__ == "__main__":
    run()
