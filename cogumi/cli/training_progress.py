"""Progress of training: steps, loss, held-out gain, tokens a second, cost, and time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cogumi.cli.progress import Reporter, progress
from cogumi.metrics.formatting import number
from cogumi.training.watching import WATCHER


@contextmanager
def training_progress(stage: str, usd_per_hour: float = 0.0) -> Iterator[None]:
    """Show what is trained inside the block, part by part."""
    with progress(stage) as reporter:
        token = WATCHER.set(_Steps(reporter, usd_per_hour).watch)
        try:
            yield
        finally:
            WATCHER.reset(token)


class _Steps:
    def __init__(self, reporter: Reporter, usd_per_hour: float) -> None:
        self._reporter, self._price = reporter, usd_per_hour
        self._gain: dict[str, str] = {}

    def watch(self, what: str, step: Any) -> None:
        if getattr(step, "gain", None) is not None:
            self._gain[what] = f", gain {number(step.gain, '.3f')}"
        money = f", ${step.seconds / 3600 * self._price:,.2f}" if self._price else ""
        speed = number(step.tokens_per_s, ",.0f")
        detail = f"loss {number(step.loss, '.3f')}{self._gain.get(what, '')}, {speed} tokens/s{money}"
        self._reporter.update(what, step.step, step.steps, "steps", detail)
