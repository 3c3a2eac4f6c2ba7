"""Progress in the terminal: rows done and wanted, a second, time left and money, from the first moment of a resume
too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from cogumi.cli.output import console
from cogumi.dataset.context import WATCHER, DatasetRun
from cogumi.dataset.progress import Step
from cogumi.recipe import Recipe

_EVERY_S = 0.25


@contextmanager
def watching(recipe: Recipe) -> Iterator[None]:
    """Show the progress of the run that opens inside the block."""
    bars = Progress(
        TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"), TextColumn("{task.fields[money]}"),
        console=console, transient=False,
    )  # fmt: skip
    viewer = _Viewer(bars)
    token = WATCHER.set(viewer.watch)
    try:
        with bars:
            yield
            viewer.stop()
    finally:
        viewer.stop()
        WATCHER.reset(token)


class _Viewer:
    """Copies the run's counts onto the bars four times a second, from a thread of its own."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._run: DatasetRun | None = None

    def watch(self, run: DatasetRun) -> None:
        self._run = run
        self._thread = threading.Thread(target=self._loop, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._draw()

    def _loop(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._draw()

    def _draw(self) -> None:
        run = self._run
        if run is None:
            return
        for name, step in list(run.progress.steps.items()):
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=step.total, speed="", money="")
            self._bars.update(self._tasks[name], completed=step.done, total=step.total, speed=_speed(step), money="")
        if self._tasks:
            money = f"${run.staff.budget.spent / 1e9:.4f} + {run.staff.budget.at_risk / 1e9:.4f} at risk"
            self._bars.update(list(self._tasks.values())[-1], money=money)


def _speed(step: Step) -> str:
    reused = f", {step.reused:,} reused" if step.reused else ""
    if step.ended is not None:
        return f"{step.per_second:,.1f}/s{reused}"
    eta = step.eta_s
    left = "--:--" if eta is None else f"{int(eta) // 60:02d}:{int(eta) % 60:02d}"
    return f"{step.per_second:,.1f}/s, {left} left{reused}"
