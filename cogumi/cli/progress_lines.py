"""Progress on a pipe or in a file: a line when something has changed, and one at least every few seconds either way.

    train: meta 40/120 steps, 3.2/s, 00:25 left, loss 2.113
    still: train: closing table, 14 s

A thread writes them, so that a step that takes minutes without a report is told of too. Lines come at most every
`least_s` seconds and at least every `every_s`; the work never waits for whoever reads them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cogumi.cli.progress_part import Part

_EVERY_S = 7.0
"""Ten are promised; the rest is for a thread that gets its turn late."""
_LEAST_S = 2.0
_LOOKS = 8  # in the shortest time between two lines


class Lines:
    """Writes lines from its first moment to `close`."""

    def __init__(self, write: Callable[[str], None], every_s: float = _EVERY_S, least_s: float = _LEAST_S) -> None:
        self._write, self._every_s, self._least_s = write, every_s, least_s
        self._lock = threading.Lock()
        self._stage = ""
        self._changed: dict[str, Part] = {}  # since the last line: parts, and the latest phase
        self._current: Part | None = None
        self._is_new = False
        self._changed_at = self._written_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def begin(self, stage: str) -> None:
        with self._lock:
            self._stage, self._changed, self._current = stage, {}, None
            self._changed_at = time.monotonic()

    def show(self, part: Part, new: bool) -> None:
        with self._lock:
            if self._current is not None and not self._current.kept and self._current is not part:
                self._changed.pop(self._current.name, None)
            self._changed[part.name] = self._current = part
            self._is_new = self._is_new or new
            self._changed_at = time.monotonic()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._least_s / _LOOKS):
            line = self._due()
            if line is None:
                continue
            try:
                self._write(line)
            except (OSError, ValueError):  # nobody reads any more; that must not end the work
                return

    def _due(self) -> str | None:
        """The line that is to be written now."""
        with self._lock:
            now = time.monotonic()
            silent_s = now - self._written_at
            if silent_s < (self._least_s if self._is_new else self._every_s):
                return None
            self._written_at, self._is_new = now, False
            if self._changed:
                line = f"{self._stage}: {'; '.join(map(str, self._changed.values()))}"
                self._changed = {}
                return line
            part = self._current
            what = f"{part.name} {part.counts}".rstrip() if part else "at work"
            return f"still: {self._stage}: {what}, {now - self._changed_at:,.0f} s"
