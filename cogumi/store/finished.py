"""What a run has finished, and by what: so that the same command again says so at once, and imports nothing for it.

note_finished(folder, "base", key, figures, ("base",))
finished_figures(folder, "base", key)        # the figures, or None where the stage has something to do
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi.errors import StorageError
from cogumi.store.artifacts import RECEIPT, read_receipt, verify
from cogumi.store.files import read_json, sha256_of, write_json

FILE = "finished.json"
_HASHED_BYTES = 256 << 20
"""Artifacts of at most this size are checked byte by byte, larger ones by the sizes of their files."""


def note_finished(folder: Path, stage: str, key: str, figures: dict[str, Any], artifacts: tuple[str, ...]) -> None:
    """Keep what a stage has made; `key` names everything that it is a function of."""
    receipts = {name: sha256_of(folder / name / RECEIPT) for name in artifacts if (folder / name / RECEIPT).is_file()}
    write_json(folder / FILE, {**_all(folder), stage: {"key": key, "figures": figures, "receipts": receipts}})


def finished_figures(folder: Path, stage: str, key: str) -> dict[str, Any] | None:
    """The figures of a stage that has finished by the same key and whose artifacts are whole; else None."""
    entry = _all(folder).get(stage)
    if entry is None or entry["key"] != key or not entry["receipts"]:
        return None
    whole = all(_is_whole(folder / name, sha256) for name, sha256 in entry["receipts"].items())
    return dict(entry["figures"]) if whole else None


def _all(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_json(folder / FILE)) if (folder / FILE).is_file() else {}
    except ValueError:
        return {}  # damaged: the stages look for themselves what is there


def _is_whole(place: Path, receipt_sha256: str) -> bool:
    receipt = read_receipt(place) if (place / RECEIPT).is_file() else None
    if receipt is None or sha256_of(place / RECEIPT) != receipt_sha256:
        return False
    files = {place / name: int(entry["bytes"]) for name, entry in receipt["files"].items()}
    if not all(path.is_file() and path.stat().st_size == size for path, size in files.items()):
        return False
    try:
        return sum(files.values()) > _HASHED_BYTES or bool(verify(place))
    except StorageError:
        return False
