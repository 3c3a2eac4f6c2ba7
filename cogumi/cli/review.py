"""`cogumi review`: rows out to people (CSV, Label Studio, Argilla), their decisions back into the next version."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import cast, get_args

import typer

from cogumi.cli.output import JsonOption, print_json, say
from cogumi.dataset.published import Published, open_published
from cogumi.dataset.review import ReviewFormat, export_review, read_decisions
from cogumi.errors import InputError
from cogumi.metrics.formatting import counted
from cogumi.store.versions import Versions

app = typer.Typer(help="Review rows by people, and carry out what they decide.", no_args_is_help=True)
_FORMATS = get_args(ReviewFormat)
_FORMAT = typer.Option("csv", "--format", help=f"One of: {', '.join(_FORMATS)}.")
_ROOT = typer.Option("datasets", "--versions", help="Folder or URL (s3://...) that holds the versions.")
_NAME = typer.Argument(help="The versioned dataset.")


@app.command("export")
def export(
    name: str = _NAME,
    path: Path = typer.Argument(help="File to write."),
    form: str = _FORMAT,
    rows: int | None = typer.Option(None, min=1, help="So many rows, drawn the same way each time; all by default."),
    which: str = typer.Option("latest", "--version", help="Number, or latest."),
    root: str = _ROOT,
    as_json: bool = JsonOption,
) -> None:
    """Write rows of a version for review."""
    with tempfile.TemporaryDirectory() as folder:
        count = export_review(_fetched(Versions(root, name), which, Path(folder)), _format(form), path, rows)
    if as_json:
        print_json({"rows": count, "file": str(path)})
    else:
        say(f"{counted(count, 'row')} in {path}")


@app.command("apply")
def apply(
    name: str = _NAME,
    path: Path = typer.Argument(help="The reviewed file."),
    form: str = _FORMAT,
    which: str = typer.Option("latest", "--version", help="The version that was reviewed: number, or latest."),
    root: str = _ROOT,
    as_json: bool = JsonOption,
) -> None:
    """Carry decisions out and publish the result as the next version."""
    from cogumi.dataset.reviewed import apply_decisions

    versions = Versions(root, name)
    decisions = read_decisions(_format(form), path)
    reviewed = versions.get(which)
    with tempfile.TemporaryDirectory() as folder:
        data = _fetched(versions, str(reviewed.number), Path(folder) / "old")
        outcome = apply_decisions(data, decisions, Path(folder) / "dataset")
        version = versions.publish(Path(folder) / "dataset", f"review-of-{reviewed.label}")
    if as_json:
        print_json({"version": version.number, **asdict(outcome)})
    else:
        told = ", ".join(f"{count:,} {kind}" for kind, count in asdict(outcome).items())
        say(f"{version.label} of {name}: {told}")


def _fetched(versions: Versions, which: str, folder: Path) -> Published:
    return open_published(versions.fetch(which, folder))


def _format(text: str) -> ReviewFormat:
    if text not in _FORMATS:
        raise InputError("review-unreadable", f"no format {text!r}; there are {', '.join(_FORMATS)}")
    return cast(ReviewFormat, text)
