"""Which adapter and base a command works on: a run's, or folders by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from cogumi.errors import InputError
from cogumi.lm.chat import FORMATS, PLAIN, ChatFormat
from cogumi.lm.device import Device, claim_device
from cogumi.recipe import check_recipe
from cogumi.store.artifacts import RECEIPT, read_receipt, verify
from cogumi.store.run_folder import RunFolder, read_run, run_path
from cogumi.store.versions import Versions
from cogumi.training.claim import training_is_installed
from cogumi.training.request import TrainRequest, fetch_base

RunOption = typer.Option("", "--run", help="The run whose adapter and base are meant.")
AdapterOption = typer.Option(None, "--adapter", help="An adapter's folder instead of the run's.")
BaseOption = typer.Option("", "--base", help="Its base model, a folder or a known hub id, instead of the run's.")
RootOption = typer.Option(Path("runs"), "--root", help="Folder that holds the runs.")
_SPARE_BYTES = 2 << 30
_CPU_PARAMETERS = 5e8


@dataclass(frozen=True, slots=True)
class Chosen:
    """`folder` is the run's, None where both are named; `form` is how its rows became text."""

    adapter: Path
    base: str
    folder: Path | None
    form: ChatFormat


def choose(command: str, run: str, adapter: Path | None, base: str, root: Path) -> Chosen:
    """Raises InputError torch-missing, adapter-not-named; RunError run-not-found, run-without-request,
    run-without-base.
    """
    if not training_is_installed():
        raise InputError("torch-missing", command)
    if not run:
        if adapter is None or not base:
            raise InputError("adapter-not-named", command)
        return Chosen(adapter, base, None, PLAIN)
    folder = run_path(root, run)
    form = FORMATS[check_recipe(read_run(folder)["recipe"]).dataset.chat_format]
    return Chosen(adapter or folder / "adapter", base or _base_of(folder, run), folder, form)


def check_place(place: Path, stage: str) -> None:
    """Raises InputError place-taken where something else than such an artifact lies there."""
    if place.exists() and (read_receipt(place) or {}).get("stage") != stage:
        raise InputError("place-taken", str(place))


def check_adapter(adapter: Path) -> None:
    """Where it has a receipt, its files must be those. Raises StorageError artifact-damaged."""
    if (adapter / RECEIPT).is_file():
        verify(adapter)


def device_for(model: Path, bytes_a_weight: int) -> Device:
    """Where a model fits with so many bytes a weight; a CPU only for small ones. Raises RunError as claim_device."""
    from cogumi.training.merge import stored_dtype

    parameters = sum(file.stat().st_size for file in model.glob("*.safetensors")) / stored_dtype(model).itemsize
    need_gib = (bytes_a_weight * parameters + _SPARE_BYTES) / 2**30
    return claim_device(need_gib, allow_cpu=parameters < _CPU_PARAMETERS)


def _base_of(folder: Path, run: str) -> str:
    """The base model that the run's adapter was trained on."""
    request = TrainRequest.kept(folder)
    models = Versions(request.store, request.base_name) if request.base else None
    return fetch_base(request, RunFolder(folder, run, resumed=True), models)[0]
