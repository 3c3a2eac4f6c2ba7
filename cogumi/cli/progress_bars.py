"""Progress on a terminal: a bar for each part of a stage, and one for the phase that it is in."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cogumi.cli.output import plain
from cogumi.cli.progress_part import Part


class Bars:
    """Live from the first part to `close`. A part's bar stays; a phase's goes when another report comes."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            TextColumn("{task.fields[counts]}", markup=False),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=sys.stdout.isatty(),  # a result that goes to a file is not for the display
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._phase: tuple[str, TaskID] | None = None
        self._stage = ""
        self._bars.start()

    def begin(self, stage: str) -> None:
        self._stage = stage
        self._end_phase()

    def show(self, part: Part, new: bool) -> None:
        if part.kept:
            self._end_phase()
            key = self._stage, part.name
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(plain(part.name), total=part.total, counts="", told="")
            task = self._tasks[key]
        else:
            if self._phase is None or self._phase[0] != part.name:
                self._end_phase()
                self._phase = part.name, self._bars.add_task(plain(part.name), total=part.total, counts="", told="")
            task = self._phase[1]
        self._bars.update(task, completed=part.done, total=part.total, counts=plain(part.counts), told=plain(part.told))

    def close(self) -> None:
        self._end_phase()
        self._bars.stop()

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._bars.remove_task(self._phase[1])
            self._phase = None
