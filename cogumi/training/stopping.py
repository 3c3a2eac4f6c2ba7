"""Stopping a training loop: its caller waits in the main thread, where signals arrive, and the loop works in another.

    figures = interruptible(lambda stop: make_base(..., stop=stop))

An exception in the waiting thread (Ctrl-C, SIGTERM, a cancelled flow run) lets the loop finish its step and save; then
it goes on its way. Signal handlers are left to those who have them: Prefect tells a cancellation from a crash by its
own.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


class Stop:
    """Whether a loop is asked to save and end."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        self._asked.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()


def interruptible(work: Callable[[Stop], Result]) -> Result:
    """The result of `work`, or its error; where the wait is interrupted, `work` is asked to stop, and waited for."""
    stop = Stop()
    with ThreadPoolExecutor(1, thread_name_prefix="training") as pool, _sigterm_is_heard():
        future = pool.submit(work, stop)
        try:
            return future.result()
        except BaseException:
            stop.ask()
            raise


@contextmanager
def _sigterm_is_heard() -> Iterator[None]:
    """Where nobody handles SIGTERM it ends the process at once; inside this block it raises SystemExit(143)."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
