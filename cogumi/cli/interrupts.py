"""Ctrl-C: the first ends the work cleanly, replies under way are waited for; the second ends the process at once.

with interruptible_twice():
    run_until_interrupted(work())      # KeyboardInterrupt after the first Ctrl-C, once the work has closed
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from cogumi.cli.output import note

Result = TypeVar("Result")
INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"
_interrupts = 0


@contextmanager
def interruptible_twice() -> Iterator[None]:
    """The second Ctrl-C ends the process with one line and exit code 130; after a first one, until the process ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _interrupts
    _interrupts = 0
    before = signal.signal(signal.SIGINT, _on_interrupt)
    try:
        yield
    finally:
        if not _interrupts:
            signal.signal(signal.SIGINT, before)


def run_until_interrupted(work: Coroutine[Any, Any, Result], sigterm: bool = True) -> Result:
    """The work's result. The first SIGINT cancels it, and SIGTERM too unless another handles that.

    Raises KeyboardInterrupt where it was cancelled so.
    """

    async def cancellable() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM) if sigterm else (signal.SIGINT,):
            loop.add_signal_handler(number, _cancel_or_stop, task, number)
        return await task

    before = signal.getsignal(signal.SIGINT)
    try:
        with asyncio.Runner() as runner:
            return runner.run(cancellable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:  # a loop that is closed leaves Python's own handler, to which the next Ctrl-C would be the first
        signal.signal(signal.SIGINT, before)


def _cancel_or_stop(task: asyncio.Future[Any], number: int) -> None:
    if number == signal.SIGINT:
        _count()
    task.cancel()


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    _count()
    raise KeyboardInterrupt


def _count() -> None:
    global _interrupts
    _interrupts += 1
    if _interrupts > 1:
        _stop_now()


def _stop_now() -> None:
    """End this process and what it has started: nothing is waited for."""
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)
    note("interrupted twice: stopped at once; replies under way count as unknown, and the same command resumes")
    for child in _children():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGTERM)
    os._exit(INTERRUPTED)


def _children() -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # where the system has no /proc, children end by their closed pipes
        for task in Path("/proc/self/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found
