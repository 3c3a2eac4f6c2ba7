"""Relative to GPT-4: its recorded answers on the same rows where they are at hand, else a published figure by name.

    relative_to(scores, rows, {"gsm8k": read_recorded(Path("gsm8k_responses.csv"))})

On the same rows the two are compared pair by pair. A published figure is of the whole benchmark, of other prompts and
with examples in context: the ratio to it is an indication, and says so by its name and date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import orjson

from cogumi.errors import InputError
from cogumi.evaluate.files import table_rows
from cogumi.evaluate.fingerprints import question_of
from cogumi.evaluate.row import BenchmarkRow, hash_of
from cogumi.evaluate.scores import Scores, figures
from cogumi.metrics.statistics import LEAST_CLUSTERS, difference

_GPT4 = re.compile(r"gpt-4", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A model, and whether it was right by the hash of each question."""

    model: str
    right: dict[str, bool]

    def of(self, rows: Sequence[BenchmarkRow]) -> Recorded:
        """What was recorded of these rows alone."""
        asked = {hash_of(question_of(row)) for row in rows}
        return Recorded(self.model, {name: right for name, right in self.right.items() if name in asked})


def read_recorded(file: Path) -> Recorded:
    """Answers that somebody has recorded.

    The file is a CSV with a column `prompt` and one named by a GPT-4 that holds True or False (the form of RouteLLM).
    Raises InputError reference-unreadable.
    """
    rows = table_rows(file)
    header = next(rows, [])
    named = [name for name in header if _GPT4.search(name) and not name.endswith("_response")]
    if "prompt" not in header or not named:
        raise InputError("reference-unreadable", f"{file}: its columns are {', '.join(header)[:200]}")
    asked, column = header.index("prompt"), header.index(named[0])
    found = {}
    for number, cells in enumerate(rows, 2):
        if len(cells) != len(header) or cells[column] not in ("True", "False"):
            raise InputError("reference-unreadable", f"{file}: row {number} has no True or False for {named[0]}")
        found[hash_of(cells[asked])] = cells[column] == "True"
    return Recorded(named[0], found)


def relative_to(
    scores: Scores, rows: Sequence[BenchmarkRow], recorded: Mapping[str, Recorded] | None = None
) -> dict[str, dict[str, Any]]:
    """By benchmark: the model's accuracy, GPT-4's, and the first as a share of the second. Empty where no row is of a
    benchmark that either is known of.
    """
    published: dict[str, dict[str, Any]] = orjson.loads(
        (resources.files("cogumi.evaluate") / "published.json").read_bytes()
    )
    given, held = dict(recorded or {}), scores.by_key()
    found: dict[str, dict[str, Any]] = {}
    for source in sorted({row.source for row in rows}):
        mine = [held[row.key] for row in rows if row.source == source and held[row.key].right is not None]
        if not mine:
            continue
        if source in given:
            same = _same_rows(scores, [row for row in rows if row.source == source], given[source])
            if same is not None:
                found[source] = same
                continue
        if source in published:
            told, own = published[source], figures(mine)
            accuracy = own.get("f1", own["accuracy"])
            found[source] = {
                "of": "published", "accuracy": accuracy, "gpt4": told["figure"], "relative": accuracy / told["figure"],
                "n": len(mine), **{name: told[name] for name in ("model", "metric", "date", "source")},
            }  # fmt: skip
    return found


def _same_rows(scores: Scores, rows: Sequence[BenchmarkRow], recorded: Recorded) -> dict[str, Any] | None:
    """None where no row was recorded."""
    held = scores.by_key()
    pairs = [
        (bool(held[row.key].right), recorded.right[name])
        for row in rows
        if (name := hash_of(question_of(row))) in recorded.right and held[row.key].right is not None
    ]
    if not pairs:
        return None
    mine, theirs = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    apart = difference([float(a) for a, _ in pairs], [float(b) for _, b in pairs], least=LEAST_CLUSTERS)
    return {
        "of": "the same rows", "accuracy": mine, "gpt4": theirs, "relative": mine / theirs if theirs else None,
        "n": len(pairs), "difference": apart.mean, "difference_ci95": [apart.low, apart.high], "model": recorded.model,
    }  # fmt: skip
