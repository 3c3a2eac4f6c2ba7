"""`cogumi artifacts`: list, show and check what the runs have published; remove what kills left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import typer

from cogumi.cli.output import JsonOption, print_json, print_table, say
from cogumi.cli.progress import progress
from cogumi.errors import RunError
from cogumi.store.artifacts import find_artifacts, leftovers, replaced_artifacts, verify

app = typer.Typer(help="Published artifacts and their receipts.", no_args_is_help=True)
_ROOT = typer.Option(Path("runs"), "--root", help="Folder that holds the runs.")


@app.command("ls")
def ls(root: Path = _ROOT, as_json: bool = JsonOption) -> None:
    """Every complete artifact, oldest first."""
    found = find_artifacts(root)
    rows = [
        [
            str(place.relative_to(root)),
            receipt["stage"],
            receipt["metrics"].get("rows", 0),
            sum(f["bytes"] for f in receipt["files"].values()),
            receipt["created"],
        ]
        for place, receipt in found
    ]
    columns = ["artifact", "stage", "rows", "bytes", "created"]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table("Artifacts", columns, rows)


@app.command("show")
def show(
    name: str = typer.Argument(help="The artifact, as ls names it (RUN/dataset)."),
    root: Path = _ROOT,
    as_json: bool = JsonOption,
) -> None:
    """One artifact's receipt, after checking every file against it."""
    place = root / name
    if not (place / "receipt.json").is_file():
        raise RunError("run-not-found", f"no artifact {name!r} under {root}")
    with progress("artifacts show"):
        receipt = verify(place)
    if as_json:
        print_json(receipt)
        return
    rows = [[file, entry["bytes"], entry["sha256"][:16]] for file, entry in receipt["files"].items()]
    print_table(f"{name}: {receipt['stage']}, every file as its receipt says", ["file", "bytes", "sha256"], rows)


@app.command("gc")
def gc(
    root: Path = _ROOT,
    replaced: bool = typer.Option(
        False, "--replaced", help="Also artifacts that others have taken the place of (RUN/replaced/)."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would go."),
    as_json: bool = JsonOption,
) -> None:
    """Remove what a kill left behind: drafts, part files, checkpoints of what is finished. Published artifacts stay."""
    found = leftovers(root) + (replaced_artifacts(root) if replaced else [])
    for path in found if not dry_run else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    names = [str(path.relative_to(root)) for path in found]
    if as_json:
        print_json({"removed": names, "dry_run": dry_run})
    else:
        say(f"{len(names)} {'would be ' if dry_run else ''}removed" + "".join(f"\n  {name}" for name in names))
