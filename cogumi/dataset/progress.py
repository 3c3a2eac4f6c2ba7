"""Progress: what is done and what is left, by step, for whoever shows it (terminal, dashboard).

Counting costs nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Step:
    """Rows of one step. `reused` of the `done` came from the ledger; speed and ETA leave them out."""

    total: int
    done: int = 0
    reused: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def per_second(self) -> float:
        elapsed = (self.ended or time.monotonic()) - self.started
        return (self.done - self.reused) / elapsed if elapsed > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the rate so far, or None before there is one."""
        rate = self.per_second
        return (self.total - self.done) / rate if rate > 0 else None


@dataclass(slots=True)
class Progress:
    """Steps by name, in the order they began."""

    steps: dict[str, Step] = field(default_factory=dict)

    def begin(self, name: str, total: int) -> None:
        """Start a step, or add to the total of one that runs again for replacements."""
        if name in self.steps:
            step = self.steps[name]
            step.total = max(step.total, step.done + total)
            step.ended = None
        else:
            self.steps[name] = Step(total)

    def add(self, name: str, done: int = 1, reused: int = 0) -> None:
        step = self.steps[name]
        step.done += done
        step.reused += reused
        if step.done >= step.total:
            step.ended = time.monotonic()
