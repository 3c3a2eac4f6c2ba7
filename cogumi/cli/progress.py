"""How far long work is, on stderr: live bars on a terminal, lines on a pipe or in a file.

    with progress("train") as reporter:
        reporter.update("meta", 3, 120, "steps", detail="loss 2.1")     # a part: its bar stays
        report_phase("closing table")                                   # from the library: shown while it lasts

Inside a block another `progress` goes on with the same display, so that a command can hold one around all its stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cogumi.cli.output import NOTICES, note
from cogumi.cli.progress_bars import Bars
from cogumi.cli.progress_lines import Lines
from cogumi.cli.progress_part import Part, View
from cogumi.phases import WATCHER, Phase

STARTING = "starting"


class Reporter:
    """Takes reports from any thread and hands on what has changed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._parts: dict[str, Part] = {}
        self._phase: Part | None = None

    def begin(self, stage: str) -> None:
        """What is reported from here on is of `stage`."""
        self._parts, self._phase = {}, None
        self._view.begin(stage)

    def close(self) -> None:
        """End the display."""
        self._view.close()

    def update(
        self, name: str, done: int, total: int | None, unit: str = "", detail: str = "", rate: float | None = None
    ) -> None:
        """A part of the stage is `done` of `total` units; `rate` in units per second where it is known better than by
        counting.
        """
        part = self._parts.get(name)
        new = part is None
        if part is None:
            part = self._parts[name] = Part(name, kept=True, first_done=done)
        part.done, part.total, part.unit, part.detail, part.given_rate = done, total, unit, detail, rate
        self._phase = None
        self._view.show(part, new)

    def phase(self, phase: Phase) -> None:
        """The stage is in a phase, which lasts until another report."""
        part, new = self._phase, False
        if part is None or part.name != phase.name:
            part, new = Part(phase.name, first_done=phase.done), True
            self._phase = part
        part.done, part.total, part.unit = phase.done, phase.total, phase.unit
        self._view.show(part, new)


_CURRENT: ContextVar[tuple[Reporter, str] | None] = ContextVar("reporter of this command", default=None)


@contextmanager
def progress(stage: str) -> Iterator[Reporter]:
    """Show how far the work inside the block is, until its end."""
    outer = _CURRENT.get()
    reporter = outer[0] if outer else Reporter(Bars(NOTICES) if NOTICES.is_terminal else Lines(note))
    tokens = _CURRENT.set((reporter, stage)), WATCHER.set(reporter.phase)
    reporter.begin(stage)
    reporter.phase(Phase(STARTING))
    try:
        yield reporter
    finally:
        WATCHER.reset(tokens[1])
        _CURRENT.reset(tokens[0])
        if outer:
            reporter.begin(outer[1])
        else:
            reporter.close()
