"""Stopping a training loop: its caller waits in the main thread, where signals arrive, and the loop works in another.

    figures = interruptible(lambda stop: make_base(..., stop=stop))

An exception in the waiting thread (Ctrl-C, SIGTERM, a cancelled flow run) lets the loop finish its step and save; then
it goes on its way. Signal handlers are left to those who have them: Prefect tells a cancellation from a crash by its
own.

Each thread that asks OpenMP for parallel work gets a team of its own. Where the teams of a process have more threads
than the machine has processors, GNU's OpenMP no longer waits awake between two operations, and small ones take up
to twice as long. So the waiting thread, which may have merged a model before, gives its team up.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")
_SOFT = 1  # omp_pause_soft


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
    give_up_team()
    with ThreadPoolExecutor(1, thread_name_prefix="training") as pool, _sigterm_is_heard():
        future = pool.submit(copy_context().run, work, stop)  # so that who watches here is told from there
        try:
            return future.result()
        except BaseException:
            stop.ask()
            raise


def give_up_team() -> None:
    """End the OpenMP threads that this thread has; its next parallel operation makes new ones (OpenMP 5.0, 3.2.44).
    Nothing to do where torch is not loaded yet, or its OpenMP is older.
    """
    pause = getattr(ctypes.CDLL(None), "omp_pause_resource_all", None)
    if pause is not None:
        pause(_SOFT)


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
