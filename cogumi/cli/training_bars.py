"""Progress of training in the terminal: steps, loss, held-out gain, tokens a second, cost, and time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cogumi.cli.output import console
from cogumi.metrics.formatting import number, usd
from cogumi.training.watching import WATCHER


@contextmanager
def training_bars(quiet: bool, usd_per_hour: float = 0.0) -> Iterator[None]:
    """Show what is trained inside the block, a line each."""
    if quiet:
        yield
        return
    columns = (TextColumn("{task.description:<7}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[told]}"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        token = WATCHER.set(_Lines(progress, usd_per_hour).watch)
        try:
            yield
        finally:
            WATCHER.reset(token)


class _Lines:
    def __init__(self, progress: Progress, usd_per_hour: float) -> None:
        self._progress, self._price = progress, usd_per_hour
        self._lines: dict[str, TaskID] = {}
        self._gain: dict[str, str] = {}

    def watch(self, what: str, step: Any) -> None:
        if what not in self._lines:
            self._lines[what] = self._progress.add_task(what, total=step.steps, told="")
        if getattr(step, "gain", None) is not None:
            self._gain[what] = f", gain {number(step.gain, '.3f')}"
        money = f", {usd(step.seconds / 3600 * self._price, ',.2f')}" if self._price else ""
        loss, speed = number(step.loss, ".3f"), number(step.tokens_per_s, ",.0f")
        told = f"loss {loss}{self._gain.get(what, '')}, {speed} tokens/s{money}"
        self._progress.update(self._lines[what], completed=step.step, told=told)
