"""Progress of the dataset stage: rows done and wanted, a second, time left and money, from the first moment of a resume
too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cogumi.cli.progress import Reporter, progress
from cogumi.dataset.context import WATCHER, DatasetRun

_EVERY_S = 0.25


@contextmanager
def dataset_progress() -> Iterator[None]:
    """Show the progress of the run that opens inside the block."""
    with progress("dataset") as reporter:
        viewer = _Viewer(reporter)
        token = WATCHER.set(viewer.watch)
        try:
            yield
        finally:
            viewer.stop()
            WATCHER.reset(token)


class _Viewer:
    """Reports the run's counts where they have changed, four times a second, from a thread of its own."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._run: DatasetRun | None = None
        self._reported: dict[str, tuple[int, int]] = {}

    def watch(self, run: DatasetRun) -> None:
        self._run = run
        self._thread = threading.Thread(target=self._loop, name="dataset-progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._report()

    def _loop(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._report()

    def _report(self) -> None:
        run = self._run
        if run is None:
            return
        for name, step in list(run.progress.steps.items()):
            if self._reported.get(name) == (step.done, step.total):
                continue
            self._reported[name] = step.done, step.total
            reused = f"{step.reused:,} reused, " if step.reused else ""
            budget = run.staff.budget
            money = f"${budget.spent / 1e9:.4f} + {budget.at_risk / 1e9:.4f} at risk"
            self._reporter.update(name, step.done, step.total, "rows", f"{reused}{money}", step.per_second)
