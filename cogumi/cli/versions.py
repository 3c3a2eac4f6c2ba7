"""`cogumi versions`: the published versions of a dataset: list, show, fetch, compare."""

from __future__ import annotations

from pathlib import Path

import typer

from cogumi.cli.output import JsonOption, print_json, print_table, say
from cogumi.cli.progress import progress
from cogumi.metrics.formatting import counted
from cogumi.store.versions import Versions

app = typer.Typer(help="Published versions of a dataset.", no_args_is_help=True)
_ROOT = typer.Option("datasets", "--versions", help="Folder or URL (s3://...) that holds the versions.")
_NAME = typer.Argument(help="The dataset.")


@app.command("ls")
def ls(name: str = _NAME, root: str = _ROOT, as_json: bool = JsonOption) -> None:
    """Every version, oldest first; the last is `latest`."""
    found = Versions(root, name).all()
    rows = [[v.label, v.metrics.get("rows", 0), v.run, v.created] for v in found]
    columns = ["version", "rows", "run", "created"]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(f"Versions of {name}", columns, rows)


@app.command("fetch")
def fetch(
    name: str = _NAME,
    into: Path = typer.Argument(help="Folder to copy it into."),
    which: str = typer.Option("latest", "--version", help="Number, or latest."),
    root: str = _ROOT,
    as_json: bool = JsonOption,
) -> None:
    """Copy a version's files into a folder and check every one."""
    versions = Versions(root, name)
    version = versions.get(which)
    with progress("versions fetch"):
        versions.fetch(str(version.number), into)
    told = {"version": version.number, "folder": str(into), "files": len(version.files)}
    if as_json:
        print_json(told)
    else:
        say(f"{version.label}: {counted(len(version.files), 'file')} in {into}")


@app.command("diff")
def diff(
    name: str = _NAME,
    older: str = typer.Argument(help="Number of the older version."),
    newer: str = typer.Argument("latest", help="Number of the newer one, or latest."),
    root: str = _ROOT,
    as_json: bool = JsonOption,
) -> None:
    """Rows added, removed and answered differently, by cell."""
    from cogumi.dataset.versions import diff_versions

    versions = Versions(root, name)
    with progress("versions diff"):
        found = diff_versions(versions, versions.get(older), versions.get(newer))
    if as_json:
        print_json(found.to_json())
        return
    kinds = ["added", "removed", "answers_changed", "kept"]
    rows = [[cell, *(counts.get(kind, 0) for kind in kinds)] for cell, counts in found.cells.items()]
    rows.append(["all", *(getattr(found, kind) for kind in kinds)])
    print_table(f"{name}: {found.older} to {found.newer}", ["cell", *kinds], rows)
