"""StopSignal: SIGTERM asks a training loop to save and end, and is then passed on to whoever handled it before.

with StopSignal() as stop:
    while step < steps and not stop.asked: ...
    save()
# here the signal is delivered again, to Prefect or to the shell's default
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any


class StopSignal:
    """Outside the main thread signals cannot be had, so nothing is ever asked there."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None
        self._mine = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> StopSignal:
        if self._mine:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if not self._mine:
            return
        signal.signal(signal.SIGTERM, self._before)
        if self.asked:
            os.kill(os.getpid(), signal.SIGTERM)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
