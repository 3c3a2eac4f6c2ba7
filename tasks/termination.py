"""SIGTERM inside an event loop: Prefect's handler raises wherever the process is at that moment, and where that is a
callback of asyncio, such as a socket's, the loop takes the exception for a fault of the callback and goes on.

async with sigterm_heard():
    await work()            # raises TerminationSignal, wherever the signal found the process
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect.exceptions import TerminationSignal


@asynccontextmanager
async def sigterm_heard() -> AsyncIterator[None]:
    """End the block with TerminationSignal where the loop has caught one. Resources that must be closed in peace, such
    as a teacher that waits for replies, are opened outside it.
    """
    loop, flow = asyncio.get_running_loop(), asyncio.current_task()
    before = loop.get_exception_handler()
    heard: list[TerminationSignal] = []

    def listen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, TerminationSignal) and flow is not None:
            heard.append(error)
            flow.cancel()
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(listen)
    try:
        yield
    except asyncio.CancelledError:
        if not heard:
            raise
        raise heard[0] from None
    finally:
        loop.set_exception_handler(before)
