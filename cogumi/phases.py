"""Phases: what long work is doing now and how far it is, for whoever watches in this process (terminal, log).

    report_phase("closing table")
    for group in groups:
        report_phase("likelihood", done, len(rows), "rows")
    with within("merged"): ...                        # "merged: likelihood"

The library reports; it prints nothing. Reporting costs a microsecond where nobody watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """`done` of `total` units; `total` is None where the phase is not counted."""

    name: str
    done: int = 0
    total: int | None = None
    unit: str = ""


Watch = Callable[[Phase], None]
WATCHER: ContextVar[Watch] = ContextVar("watcher of phases", default=lambda phase: None)
"""Called with every report, in the reporting thread. It is to be quick."""
_PREFIX: ContextVar[str] = ContextVar("what the phase is part of", default="")


def report_phase(name: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
    """Tell that a phase has begun or advanced."""
    WATCHER.get()(Phase(_PREFIX.get() + name, done, total, unit))


@contextmanager
def within(name: str) -> Iterator[None]:
    """Phases reported inside the block are of `name`, such as a model."""
    token = _PREFIX.set(f"{_PREFIX.get()}{name}: ")
    try:
        yield
    finally:
        _PREFIX.reset(token)
