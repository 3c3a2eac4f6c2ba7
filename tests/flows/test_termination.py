"""SIGTERM that finds the process inside a callback of asyncio, where its exception is nobody's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import capture_sigterm

from tasks.termination import sigterm_heard


@pytest.fixture
def prefects_handler() -> Iterator[None]:
    """Prefect's own, as it is while a flow runs; at its end it gives the signal on to the one before."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _killed_in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)


async def _worked(listening: bool) -> str:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    _killed_in_a_callback()
    if not listening:
        await asyncio.sleep(0.2)
        return "went on"
    async with sigterm_heard():
        await asyncio.sleep(60)
    return "went on"


def test_without_listening_the_flow_goes_on_as_if_nothing_had_been_said(prefects_handler: None) -> None:
    with capture_sigterm():
        assert asyncio.run(_worked(listening=False)) == "went on"


def test_it_ends_the_block(prefects_handler: None) -> None:
    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(_worked(listening=True))


def test_what_was_opened_outside_is_closed_in_peace(prefects_handler: None) -> None:
    closed = []

    async def work() -> None:
        try:
            async with sigterm_heard():
                _killed_in_a_callback()
                await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            closed.append(True)

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(work())
    assert closed == [True]


def test_in_a_protocol_too(prefects_handler: None) -> None:
    class Talk(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    async def work() -> None:
        async with sigterm_heard():
            server = await asyncio.get_running_loop().create_server(Talk, "127.0.0.1", 0)
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            await asyncio.sleep(60)

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(work())


async def test_other_faults_and_cancellations_are_what_they_were() -> None:
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    try:
        async with sigterm_heard():
            loop.call_soon(lambda: 1 / 0)
            await asyncio.sleep(0.01)
        assert [type(error) for error in told] == [ZeroDivisionError]
        with pytest.raises(asyncio.CancelledError):
            async with sigterm_heard():
                loop.call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
                await asyncio.sleep(60)
    finally:
        loop.set_exception_handler(None)
