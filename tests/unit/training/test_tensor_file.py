"""A disk that is really full: what training writes says so by its code, and leaves nothing torn."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skipped import miss

ROOT = Path(__file__).parents[3]
CODE = """
import sys, torch
from pathlib import Path
from cogumi.errors import StorageError
from cogumi.lm.tokenizer import train_tokenizer
from cogumi.store.artifacts import new_artifact
from cogumi.training.base import write_model
from cogumi.training.checkpoint import save_checkpoint
from cogumi.training.tensor_file import save_tensors
from tests.unit.training.models import llama

place, large = Path("/mnt"), {"a": torch.zeros(100_000)}

def checkpoint():
    save_checkpoint(place, 7, large)

def adapter():
    with new_artifact(place / "adapter", "train_models", "-", {}, 0) as draft:
        save_tensors(large, draft.path / "meta.safetensors")

def base():
    with new_artifact(place / "base", "pretrain_base", "-", {}, 0) as draft:
        write_model(llama(torch.float32), train_tokenizer(["a word"], 300), draft.path)

try:
    globals()[sys.argv[1]]()
except StorageError as error:
    print(error.code, [str(path) for path in place.rglob("*") if path.is_file()])
"""


@pytest.mark.parametrize("what", ["checkpoint", "adapter", "base"])
def test_a_full_disk_is_named_and_nothing_is_torn(what: str) -> None:
    """In a namespace of its own, with a disk of 64 KiB."""
    if shutil.which("bwrap") is None:
        miss("bubblewrap")
    small_disk = ["bwrap", "--dev-bind", "/", "/", "--size", "65536", "--tmpfs", "/mnt"]
    done = subprocess.run(
        [*small_disk, sys.executable, "-c", CODE, what], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "disk-full []", done.stdout + done.stderr
