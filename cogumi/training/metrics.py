"""MetricsFile: one JSON line a training step, flushed as it is written, so that a run can be watched and plotted.

It lies beside the checkpoints of the training it belongs to, and goes into the artifact with the model. A resumed loop
repeats the steps since its checkpoint: of two lines of a step the later one counts.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from cogumi.store.files import read_foreign_jsonl

METRICS = "metrics.jsonl"


class MetricsFile:
    """Appends steps; any dataclass with a `step` will do, and more beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> MetricsFile:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, step: Any, **more: str) -> None:
        self._file.write(orjson.dumps(more | asdict(step), option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, each step of a part once; a torn last line is left out."""
    rows = [found[1] for found in read_foreign_jsonl(path) if isinstance(found, tuple)]
    return list({(row.get("part"), row["step"]): row for row in rows if "step" in row}.values())


def loss_by_step(path: Path) -> list[tuple[int, float]]:
    """The curve of a metrics file; steps whose loss was no number are left out. Empty where there is no file."""
    if not path.is_file():
        return []
    rows = [(int(row["step"]), row["loss"]) for row in read_metrics(path)]
    return [(step, float(loss)) for step, loss in rows if loss is not None and math.isfinite(loss)]
