"""Artifacts: immutable folders with a receipt. Published by one rename, so that each is whole or absent (contract C5).

with new_artifact(folder / "dataset", "generate_dataset", inputs_hash) as draft:
    write_jsonl(draft.path / "rows.jsonl", rows)
    draft.metrics["rows"] = 800
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cogumi import __version__
from cogumi.errors import StorageError, storage_error
from cogumi.store.files import sha256_of, sync_folder, write_json

RECEIPT = "receipt.json"
REPLACED = "replaced"
"""Folder beside an artifact that holds what stood in its place, made from other inputs."""


@dataclass(slots=True)
class Draft:
    """An artifact being made: write files under `path`, figures into `metrics`, which are those of its receipt once it
    is complete: null where a number is not finite.
    """

    path: Path
    metrics: dict[str, Any] = field(default_factory=dict)


@contextmanager
def new_artifact(
    place: Path, stage: str, inputs_hash: str, recipe_section: dict[str, Any], seed: int
) -> Iterator[Draft]:
    """Make an artifact at `place`; on leaving without an error it is complete there, with its receipt.

    A finished artifact that already stands there moves to `replaced/` beside it, unless it was made from the same
    inputs by the same recipe: that is made again only where it is damaged. Raises StorageError.
    """
    started = time.monotonic()
    draft = Draft(place.with_name(f".{place.name}.{os.getpid()}.draft"))
    shutil.rmtree(draft.path, ignore_errors=True)
    try:
        draft.path.mkdir(parents=True)
        yield draft
        draft.metrics = orjson.loads(orjson.dumps(draft.metrics))
        _write_receipt(draft, stage, inputs_hash, recipe_section, seed, time.monotonic() - started)
        _swap_in(draft.path, place)
    except OSError as error:
        raise storage_error(error, place) from error
    finally:
        shutil.rmtree(draft.path, ignore_errors=True)


def read_receipt(place: Path) -> dict[str, Any] | None:
    """The receipt of a complete artifact, or None where there is none."""
    file = place / RECEIPT
    return dict(orjson.loads(file.read_bytes())) if file.is_file() else None


def verify(place: Path) -> dict[str, Any]:
    """The receipt, after checking every file against it. Raises StorageError artifact-damaged."""
    receipt = read_receipt(place)
    if receipt is None:
        raise StorageError("artifact-damaged", f"{place}: no receipt")
    for name, entry in receipt["files"].items():
        file = place / name
        if not file.is_file() or sha256_of(file) != entry["sha256"]:
            raise StorageError("artifact-damaged", str(file))
    return receipt


def held_metrics(place: Path, inputs: str) -> dict[str, Any] | None:
    """The metrics of an artifact that was made from these very inputs and is whole; None where it must be made."""
    receipt = read_receipt(place)
    if receipt is None or receipt["inputs"] != inputs:
        return None
    try:
        return dict(verify(place)["metrics"])
    except StorageError:
        return None  # damaged: made again from the same inputs


def find_artifacts(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every complete artifact below a folder, oldest first."""
    found = []
    for file in sorted(root.rglob(RECEIPT)):
        receipt = read_receipt(file.parent)
        if receipt is not None and not any(part.endswith(".draft") for part in file.parts):
            found.append((file.parent, receipt))
    return sorted(found, key=lambda pair: pair[1]["created"])


def replaced_artifacts(root: Path) -> list[Path]:
    """What finished artifacts with other inputs have taken the place of."""
    return sorted(path for path in root.rglob(f"{REPLACED}/*") if (path / RECEIPT).is_file())


def leftovers(root: Path) -> list[Path]:
    """Drafts, part files, and checkpoints of what is finished, that a kill left behind; `cogumi artifacts gc` removes
    them.
    """
    parts = [path for pattern in (".*.draft", ".*.old", ".*.part") for path in sorted(root.rglob(pattern))]
    return parts + [folder for folder in sorted(root.rglob("checkpoints/*")) if _is_finished(folder)]


def _is_finished(checkpoints: Path) -> bool:
    """RUN/checkpoints/ARTIFACT-INPUTS, and RUN/ARTIFACT was made from those very inputs."""
    name, _, inputs = checkpoints.name.rpartition("-")
    receipt = read_receipt(checkpoints.parent.parent / name) if name else None
    return receipt is not None and receipt["inputs"] == inputs


def _write_receipt(
    draft: Draft, stage: str, inputs_hash: str, recipe_section: dict[str, Any], seed: int, seconds: float
) -> None:
    files = {
        str(path.relative_to(draft.path)): {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        for path in sorted(draft.path.rglob("*"))
        if path.is_file()
    }
    receipt = {
        "stage": stage,
        "inputs": inputs_hash,
        "files": files,
        "recipe": recipe_section,
        "seed": seed,
        "cogumi": __version__,
        "metrics": draft.metrics,
        "seconds": round(seconds, 3),
        "created": datetime.now(UTC).isoformat(),
    }
    write_json(draft.path / RECEIPT, receipt)


def _swap_in(made: Path, place: Path) -> None:
    old = _aside(made, place)
    if place.exists():
        old.parent.mkdir(exist_ok=True)
        place.rename(old)
        sync_folder(old.parent)
    made.rename(place)
    sync_folder(place.parent)
    if old.parent == place.parent:
        shutil.rmtree(old, ignore_errors=True)


def _aside(made: Path, place: Path) -> Path:
    """Where what stands at `place` goes: into `replaced/` under the time it was made at, where it was finished from
    other inputs or by another recipe; else beside it, to be removed.
    """
    old, new = _receipt_if_readable(place), _receipt_if_readable(made)
    if old is None or (new is not None and all(old[key] == new[key] for key in ("inputs", "recipe"))):
        return place.with_name(f".{place.name}.{os.getpid()}.old")
    made_at = datetime.fromisoformat(old["created"]).strftime("%Y%m%dT%H%M%S.%f")
    return place.parent / REPLACED / f"{place.name}-{made_at}"


def _receipt_if_readable(place: Path) -> dict[str, Any] | None:
    try:
        return read_receipt(place)
    except ValueError:
        return None  # cut short: the artifact was not whole
