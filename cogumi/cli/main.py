"""`cogumi`: the typer application, and the one place where errors become exit codes.

Exit codes: 0 done, 1 internal error, 2 input, 3 storage, 4 run, 5 budget, 6 teacher, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any, ClassVar

import typer

from cogumi import __version__
from cogumi.cli.lazy_group import LazyGroup, Source
from cogumi.errors import CogumiError, InputError

_USAGE_ERROR: Any = typer.BadParameter.__mro__[2]
"""click's ClickException, wherever this version of typer has click."""
_ABORTED = 1


class Commands(LazyGroup):
    """Every command; a summary is the first paragraph of the command's own help."""

    SOURCES: ClassVar[dict[str, Source]] = {
        "demo": Source(
            "cogumi.cli.demo:demo",
            "Make 800 judged, answered rows through a loopback provider with 2% faults, train three models, and "
            "report.",
        ),
        "run": Source(
            "cogumi.cli.run_commands:app",
            "Run a stage by recipe. The same command again resumes it and buys only what is missing.",
        ),
        "compare-prompts": Source(
            "cogumi.cli.compare_prompts:compare_prompts",
            "Compare two system prompts on the same questions. The same command again resumes it and buys what is "
            "missing.",
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
        from cogumi.cli.output import say

        say(__version__)
        raise typer.Exit


def run() -> None:
    """The entry point of the `cogumi` command: every error with its code, on stdout as JSON too with --json."""
    from cogumi.cli.interrupts import interruptible_twice

    with interruptible_twice():
        code = _exit_code("--json" in sys.argv)
    sys.exit(code)


def _exit_code(as_json: bool) -> int:
    """Run the command line; what it raises is shown, and gives the exit code."""
    from cogumi.cli.interrupts import INTERRUPTED

    try:
        result = app(standalone_mode=False)
        if result == INTERRUPTED:  # typer's word for a Ctrl-C that nobody has translated
            from cogumi.cli.output import note

            note("interrupted")
        return result if isinstance(result, int) else 0
    except CogumiError as error:
        return _show(error, as_json)
    except typer.Abort:
        return _ABORTED
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return int(error.exit_code)
        return _show(InputError("usage", error.format_message()), as_json)
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read our output is gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _ABORTED
        return _show_internal(error, as_json)
    except Exception as error:  # noqa: BLE001 - the last stop; COGUMI_TRACEBACK=1 shows it
        return _show_internal(error, as_json)


def _show(error: CogumiError, as_json: bool) -> int:
    from cogumi.cli.output import print_error

    _show_traceback()
    print_error(error, as_json)
    return error.exit_code


def _show_internal(error: Exception, as_json: bool) -> int:
    from cogumi.cli.output import note, print_json

    _show_traceback()
    if as_json:
        print_json({"error": {"code": "internal", "detail": f"{type(error).__name__}: {error}"}})
    note(("internal error", "bold red"), f" {type(error).__name__}: run again with COGUMI_TRACEBACK=1 and report it")
    return 1


def _show_traceback() -> None:
    if os.environ.get("COGUMI_TRACEBACK"):
        traceback.print_exc()


if __name__ == "__main__":
    run()
