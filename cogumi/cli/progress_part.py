"""Part: a part of a stage or a phase of it, with rate and time left; View: where parts are shown."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Part:
    """A part of a stage, or a phase of it. `rate` is in units per second; by default that since it was first seen."""

    name: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    detail: str = ""
    kept: bool = False
    given_rate: float | None = None
    first_done: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        return self.total is not None and self.done >= self.total

    @property
    def rate(self) -> float | None:
        if self.given_rate is not None:
            return self.given_rate
        elapsed = time.monotonic() - self.began
        done = self.done - self.first_done
        return done / elapsed if done > 0 and elapsed > 0 else None

    @property
    def counts(self) -> str:
        """`3/120 steps`; nothing for what is not counted."""
        return "" if self.total is None else f"{self.done:,}/{self.total:,} {self.unit}".rstrip()

    @property
    def told(self) -> str:
        """Rate, time left and detail."""
        found = []
        if self.total is not None:
            rate = self.rate
            if rate:
                found.append(f"{rate:,.1f}/s" if rate >= 1 else f"{1 / rate:,.1f} s each")
                if not self.finished:
                    found.append(f"{_clock((self.total - self.done) / rate)} left")
        return ", ".join([*found, *([self.detail] if self.detail else [])])

    def __str__(self) -> str:
        head = f"{self.name} {self.counts}".rstrip()
        return f"{head}, {self.told}" if self.told else head


class View(Protocol):
    """Where parts are shown."""

    def begin(self, stage: str) -> None: ...

    def show(self, part: Part, new: bool) -> None: ...

    def close(self) -> None: ...


def _clock(seconds: float) -> str:
    """`01:05`, `2:00:00`."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"
