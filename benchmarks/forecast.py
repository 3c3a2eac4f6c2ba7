"""Forecast against bill: a finished run, 30 random changes of its recipe, and for each the calls that the forecast says
and those that a run then buys.

Each change is tried on a copy of the finished run, against one loopback provider with 2% faults. A bought call is a
request whose reply came; attempts that failed on the wire are not among them.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.measuring import Figure, report
from benchmarks.parts.recipe_changes import random_changes
from cogumi.cli.output import print_table
from cogumi.dataset.forecast import existing_run, forecast
from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import RunError
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess

CELLS = (
    "{math: {easy: 40, hard: 40}, reasoning: {easy: 40, hard: 40}, "
    "coding: {easy: 20, hard: 20}, reading: {easy: 20, hard: 20}}"
)
_RUN = "r"
_WITHIN = 0.1


@dataclass(frozen=True, slots=True)
class Tried:
    """A change of the recipe: calls by the forecast, calls that were bought, and how each of the two ended."""

    overrides: tuple[str, ...]
    expected: int
    bought: int
    stops: str
    stopped: str

    @property
    def error(self) -> float:
        """Relative to what was bought; 0 where both are 0."""
        return abs(self.expected - self.bought) / max(1, self.bought)


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    tried = asyncio.run(try_changes(random_changes(6 if quick else 30, seed=1)))
    if table:
        rows = [[one.expected, one.bought, f"{one.error:.1%}", " ".join(one.overrides)] for one in tried]
        print_table("", ["forecast", "bought", "error", "change"], rows, width=130)
    buying = [one.error for one in tried if one.bought]
    free = [one for one in tried if not one.bought]
    figures = [
        Figure("largest error of changes that buy", max(buying), "ratio", high=_WITHIN),
        Figure("median error of changes that buy", median(buying), "ratio"),
        Figure("changes that buy nothing, forecast as 0", sum(one.expected == 0 for one in free), "changes", len(free)),
        Figure("changes that buy", len(buying), "changes"),
    ]
    report("forecast", figures, {"cells": CELLS, "changes": len(tried)}, save=save, table=table)


async def try_changes(changes: list[list[str]]) -> list[Tried]:
    """Forecast and buy each change of one finished run."""
    with tempfile.TemporaryDirectory() as place, _provider() as url:
        root = Path(place)
        await _run(root, _recipe(url, []))
        tried = []
        for number, overrides in enumerate(changes):
            copy = root / f"change-{number}"
            shutil.copytree(root / _RUN, copy / _RUN)
            tried.append(await _try(copy, _recipe(url, overrides), tuple(overrides)))
            shutil.rmtree(copy)
        return tried


async def _try(root: Path, recipe: Recipe, overrides: tuple[str, ...]) -> Tried:
    expected = await forecast(recipe, existing_run(root, _RUN))
    bought, stopped = await _run(root, recipe)
    stops = (expected["stops"] or "").partition(":")[0]
    return Tried(overrides, expected["calls"], bought, stops, stopped)


async def _run(root: Path, recipe: Recipe) -> tuple[int, str]:
    """The replies that a run buys, and the code of the error that it stops with."""
    with RunFolder.open(root, _RUN, recipe, change=True) as folder:
        async with open_dataset_run(recipe, folder) as run:
            before, stopped = run.staff.ledger.replies, ""
            try:
                await generate(run, Plan.for_recipe(recipe))
            except RunError as error:
                stopped = error.code
            return run.staff.ledger.replies - before, stopped


def _recipe(url: str, overrides: list[str]) -> Recipe:
    """The recipe `tiny` with more rows, on a provider that is already there."""
    names = (("questioner", "/v1"), ("judge", "/v1"), ("answerer", "/v1"), ("thinker", ""))
    here = [f"teachers.{name}.base_url={url}{path}" for name, path in names]
    allowed = [f"teachers.{name}.allow_loopback_http=true" for name, _ in names]
    return load_recipe("tiny", [f"dataset.cells={CELLS}", "preflight=false", *here, *allowed, *overrides])


@contextmanager
def _provider() -> Iterator[str]:
    """The URL of a loopback provider as `tiny` starts one, for all runs together."""
    section = load_recipe("tiny").loopback
    behaviour = Behaviour(
        fault_share=section.fault_share,
        defect_share=section.defect_share,
        wrong_share=section.wrong_share,
        untidy_share=0.3,
    )
    with LoopbackProcess(behaviour) as provider:
        yield provider.url
