"""SIGTERM inside an event loop. Prefect's handler raises wherever the process is at that moment. That may be a callback
of asyncio, where the exception is nobody's, or a call to a teacher that is half read: it is lost then, though it is
paid for. Here the signal ends the flow alone, and everything else goes on.

async with sigterm_heard():
    await work()            # raises TerminationSignal, wherever the signal found the process
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType

from prefect.exceptions import TerminationSignal
from prefect.utilities import engine


@asynccontextmanager
async def sigterm_heard() -> AsyncIterator[None]:
    """The first SIGTERM ends the block with TerminationSignal, once it has closed what it opened; further ones change
    nothing. Found in the flow's own step, such as a sync flow that it calls, it raises there.
    """
    flow = asyncio.current_task()
    if flow is None or threading.current_thread() is not threading.main_thread():
        yield  # signals are for the main thread
        return
    hearing = _Hearing(asyncio.get_running_loop(), flow)
    with _handled_by(hearing):
        try:
            yield
        except asyncio.CancelledError:
            if not hearing.cancelled:
                raise
        finally:
            await hearing.end()
    if hearing.heard:
        raise TerminationSignal(signal.SIGTERM)


class _Hearing:
    """What was heard in one block, and what it has done to the block's task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flow: asyncio.Task[object]) -> None:
        self.heard = False
        self.cancelled = False
        self._ended = False
        self._loop = loop
        self._flow = flow

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.heard:
            return
        self.heard = True
        if asyncio.current_task(self._loop) is self._flow:
            raise TerminationSignal(number)
        self._loop.call_soon_threadsafe(self._cancel)  # which also wakes a loop that waits for a socket

    def _cancel(self) -> None:
        if not self._ended:
            self.cancelled = self._flow.cancel()

    async def end(self) -> None:
        """Take back a cancellation; one that the block did not live to see is spent on a wait of its own."""
        self._ended = True
        if self.cancelled and self._flow.cancelling():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            self._flow.uncancel()


@contextmanager
def _handled_by(hearing: _Hearing) -> Iterator[None]:
    """SIGTERM goes to `hearing`, which Prefect is to take for its own handler: only then does a flow on a worker accept
    that it is cancelled, and would otherwise count as crashed. The names have no public counterpart (Prefect 3.8).
    """
    with engine._prefect_sigterm_bridge_lock:
        before, prefects = signal.signal(signal.SIGTERM, hearing), engine._prefect_sigterm_handler
        if before is prefects:
            engine._prefect_sigterm_handler = hearing  # type: ignore[assignment]  # it raises only in the flow's step
    try:
        yield
    finally:
        with engine._prefect_sigterm_bridge_lock:
            engine._prefect_sigterm_handler = prefects
            signal.signal(signal.SIGTERM, before)
