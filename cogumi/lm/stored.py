"""Stored tensors: a model's weights as its folder has them, one at a time, without a model.

with ExitStack() as files:
    StoredTensors(folder, files).read("model.norm.weight")
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import orjson
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cogumi.errors import InputError

EMBEDDING = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"


class StoredTensors:
    """The tensors of a model's folder, one file or many, read onto a device. Raises InputError model-unreadable."""

    def __init__(self, folder: Path, files: ExitStack, device: str = "cpu") -> None:
        index = folder / "model.safetensors.index.json"
        try:
            named = sorted(set(orjson.loads(index.read_bytes())["weight_map"].values())) if index.is_file() else []
            opened = [
                files.enter_context(safe_open(folder / name, "pt", device=device))
                for name in named or ["model.safetensors"]
            ]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError("model-unreadable", f"{folder}: {error}") from None
        self._places = {name: file for file in opened for name in file.keys()}  # noqa: SIM118 # it is no dict

    @property
    def names(self) -> list[str]:
        return list(self._places)

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self._places[name].get_tensor(name)
        return tensor


def output_matrix(folder: Path) -> Tensor:
    """The matrix that reads the vocabulary (VD), in the precision it is stored in: the embedding where both are one.

    Raises InputError model-unreadable.
    """
    with ExitStack() as files:
        stored = StoredTensors(folder, files)
        return stored.read(OUTPUT if OUTPUT in stored.names else EMBEDDING)
