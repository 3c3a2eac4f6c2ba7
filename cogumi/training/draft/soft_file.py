"""Rows and the target's distributions at their responses, in one safetensors file: written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cogumi.errors import storage_error
from cogumi.lm.chat import Encoded
from cogumi.training.draft.divergence import Soft
from cogumi.training.tensor_file import save_tensors


def save_soft(file: Path, rows: Sequence[Encoded], soft: Sequence[Soft]) -> None:
    """Raises StorageError disk-full, disk-error."""
    joined = Soft.joined(soft)
    tensors = {
        "ids": torch.tensor([word for row in rows for word in row.ids], dtype=torch.int32),
        "mask": torch.tensor([asked for row in rows for asked in row.mask], dtype=torch.uint8),
        "tokens": torch.tensor([len(row.ids) for row in rows], dtype=torch.int32),
        "words": joined.words_NK,
        "log_p": joined.log_p_NK,
        "log_rest": joined.log_rest_N,
    }
    draft = file.with_name(f".{file.name}.draft")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(tensors, draft)
        draft.replace(file)
    except OSError as error:
        raise storage_error(error, file) from error
    finally:
        draft.unlink(missing_ok=True)


def load_soft(file: Path) -> tuple[list[Encoded], list[Soft]] | None:
    """What was saved; None where there is nothing, or nothing whole."""
    try:
        held = load_file(file)
        sizes = held["tokens"].tolist()
        rows = [
            Encoded(ids.tolist(), mask.tolist())
            for ids, mask in zip(held["ids"].split(sizes), held["mask"].split(sizes), strict=True)
        ]
        counts = [sum(row.mask) for row in rows]
        parts = (held[name].split(counts) for name in ("words", "log_p", "log_rest"))
        return rows, [Soft(*part) for part in zip(*parts, strict=True)]
    except (OSError, SafetensorError, KeyError, RuntimeError):
        return None
