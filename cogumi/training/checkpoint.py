"""Checkpoints: tensors in safetensors, the rest in JSON; written beside their place and renamed, the newest two kept.

    CHECKPOINTS/step-00000120/tensors.safetensors
    CHECKPOINTS/step-00000120/state.json           step, and sha256 of the tensors

A checkpoint that does not match its own state is passed over for the one before it, and the caller is told.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import orjson
from safetensors.torch import load_file, save_file
from torch import Tensor

from cogumi.errors import storage_error
from cogumi.store.files import sha256_of, sync_folder, write_json

_NAME = re.compile(r"step-(\d{8})")
_TENSORS, _STATE = "tensors.safetensors", "state.json"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read back. `passed_over` names newer checkpoints that were damaged."""

    step: int
    tensors: dict[str, Tensor]
    passed_over: list[str]


def save_checkpoint(place: Path, step: int, tensors: dict[str, Tensor]) -> Path:
    """Save whole or not at all; older ones than the last two go. Raises StorageError disk-full, disk-error."""
    done = place / f"step-{step:08d}"
    draft = place / f".step-{step:08d}.draft"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, draft / _TENSORS)
        _sync(draft / _TENSORS)
        write_json(draft / _STATE, {"step": step, "sha256": sha256_of(draft / _TENSORS)})
        shutil.rmtree(done, ignore_errors=True)
        draft.rename(done)
        sync_folder(place)
    except OSError as error:
        raise storage_error(error, place) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for old in _found(place)[:-_KEPT]:
        shutil.rmtree(old)
    return done


def load_newest(place: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None."""
    passed_over: list[str] = []
    for folder in reversed(_found(place)):
        read = _read(folder)
        if read is not None:
            return Checkpoint(*read, passed_over)
        passed_over.append(folder.name)
    return None


def _read(folder: Path) -> tuple[int, dict[str, Tensor]] | None:
    try:
        state = orjson.loads((folder / _STATE).read_bytes())
        if sha256_of(folder / _TENSORS) != state["sha256"]:
            return None
        return int(state["step"]), load_file(folder / _TENSORS)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _found(place: Path) -> list[Path]:
    return sorted(folder for folder in place.glob("step-*") if _NAME.fullmatch(folder.name))


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
