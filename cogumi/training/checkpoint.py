"""Checkpoints: tensors in safetensors, the rest in JSON; written beside their place and renamed, the newest two kept.

    CHECKPOINTS/step-00000120/tensors.safetensors
    CHECKPOINTS/step-00000120/state.json           step, sha256 of the tensors, and what the loop needs besides

A checkpoint that does not match its own state is passed over for the one before it, and the caller is told.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from safetensors.torch import load_file
from torch import Tensor

from cogumi.errors import storage_error
from cogumi.store.files import sha256_of, sync_folder, write_json
from cogumi.training.tensor_file import save_tensors

_NAME = re.compile(r"step-(\d{8})")
_TENSORS, _STATE = "tensors.safetensors", "state.json"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read back. `passed_over` names newer checkpoints that were damaged."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    passed_over: list[str]


def save_checkpoint(place: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any] | None = None) -> Path:
    """Save whole or not at all. Older ones than the last two go, but for the newest whose state says `good`.

    Raises StorageError disk-full, disk-error.
    """
    done = place / f"step-{step:08d}"
    draft = place / f".step-{step:08d}.draft"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_tensors(tensors, draft / _TENSORS)
        _sync(draft / _TENSORS)
        told = {"step": step, "sha256": sha256_of(draft / _TENSORS), "state": state or {}}
        write_json(draft / _STATE, told)
        shutil.rmtree(done, ignore_errors=True)
        draft.rename(done)
        sync_folder(place)
    except OSError as error:
        raise storage_error(error, place) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    found = _found(place)
    good = next((folder for folder in reversed(found) if _is_good(folder)), None)
    for old in found[:-_KEPT]:
        if old != good:
            shutil.rmtree(old)
    return done


def load_newest(place: Path, which: Callable[[dict[str, Any]], bool] = lambda state: True) -> Checkpoint | None:
    """The newest checkpoint that is whole and whose state is as asked, or None."""
    passed_over: list[str] = []
    for folder in reversed(_found(place)):
        read = _read(folder)
        if read is None:
            passed_over.append(folder.name)
        elif which(read[2]):
            return Checkpoint(*read, passed_over)
    return None


def _read(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
    try:
        told = orjson.loads((folder / _STATE).read_bytes())
        if sha256_of(folder / _TENSORS) != told["sha256"]:
            return None
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / _TENSORS).items()}
        return int(told["step"]), tensors, dict(told.get("state", {}))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_good(folder: Path) -> bool:
    try:
        return bool(orjson.loads((folder / _STATE).read_bytes())["state"]["good"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _found(place: Path) -> list[Path]:
    return sorted(folder for folder in place.glob("step-*") if _NAME.fullmatch(folder.name))


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
