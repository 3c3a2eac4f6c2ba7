"""Which adapter and base a command works on: a run's, or folders by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from cogumi.errors import InputError
from cogumi.lm.chat import FORMATS, PLAIN, ChatFormat
from cogumi.recipe import stored_recipe
from cogumi.store.artifacts import RECEIPT, read_receipt, verify
from cogumi.store.run_folder import RunFolder, read_run, run_path
from cogumi.training.claim import need_torch
from cogumi.training.request import base_of_run

RunOption = typer.Option("", "--run", help="The run whose adapter and base are meant.")
AdapterOption = typer.Option(None, "--adapter", help="An adapter's folder instead of the run's.")
BaseOption = typer.Option("", "--base", help="Its base model, a folder or a known hub id, instead of the run's.")
RootOption = typer.Option(Path("runs"), "--root", help="Folder that holds the runs.")


@dataclass(frozen=True, slots=True)
class Chosen:
    """`folder` is the run's, None where both are named; `form` is how its rows became text."""

    adapter: Path
    base: str
    folder: Path | None
    form: ChatFormat


def choose(command: str, run: str, adapter: Path | None, base: str, root: Path) -> Chosen:
    """Raises InputError extra-missing, adapter-not-named; RunError run-not-found, run-without-request,
    run-without-base.
    """
    need_torch(command)
    if not run:
        if adapter is None or not base:
            raise InputError("adapter-not-named", command)
        return Chosen(adapter, base, None, PLAIN)
    folder = run_path(root, run)
    stored = read_run(folder)
    form = FORMATS[stored_recipe(stored["recipe"], stored["format"]).dataset.chat_format]
    return Chosen(
        adapter or folder / "adapter", base or base_of_run(RunFolder(folder, run, resumed=True)), folder, form
    )


def check_place(place: Path, stage: str) -> None:
    """Raises InputError place-taken where something else than such an artifact lies there."""
    if place.exists() and (read_receipt(place) or {}).get("stage") != stage:
        raise InputError("place-taken", str(place))


def check_adapter(adapter: Path) -> None:
    """Where it has a receipt, its files must be those. Raises StorageError artifact-damaged."""
    if (adapter / RECEIPT).is_file():
        verify(adapter)
