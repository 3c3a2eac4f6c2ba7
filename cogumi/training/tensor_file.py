"""Tensor files: safetensors, whose errors of the disk are told as those of every other file.

save_tensors(weights, folder / "meta.safetensors")
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

_NUMBER = re.compile(r"\(os error (\d+)\)")


def save_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write them, from whatever device they are on. Raises OSError."""
    with disk_errors():
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)


@contextmanager
def disk_errors() -> Iterator[None]:
    """The library's own error for a disk that refuses, as the OSError that it was."""
    try:
        yield
    except SafetensorError as error:
        found = _NUMBER.search(str(error))
        raise OSError(int(found[1]) if found else errno.EIO, str(error)) from error
