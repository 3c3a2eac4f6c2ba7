"""SIGTERM that finds the process inside an event loop: the flow ends, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities import engine
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


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def _worked(listening: bool) -> str:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    asyncio.get_running_loop().call_soon(_kill)
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


def test_what_is_open_is_closed_in_peace_however_often_it_comes(prefects_handler: None) -> None:
    closed = []

    async def work() -> None:
        async with sigterm_heard():
            try:
                asyncio.get_running_loop().call_soon(_kill)
                await asyncio.sleep(60)
            finally:
                _kill()
                await asyncio.sleep(0.05)
                closed.append(True)

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(work())
    assert closed == [True]


def test_another_task_that_it_strikes_goes_on_to_its_end(prefects_handler: None) -> None:
    """A call that is half read, say: its reply is paid for, and who closes waits for it."""
    read = []

    async def call() -> None:
        _kill()
        await asyncio.sleep(0.05)
        read.append(True)

    async def work() -> None:
        async with sigterm_heard():
            reading = asyncio.ensure_future(call())
            try:
                await asyncio.sleep(60)
            finally:
                await reading

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(work())
    assert read == [True]


def test_in_a_protocol_too(prefects_handler: None) -> None:
    class Talk(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            _kill()

    async def work() -> None:
        async with sigterm_heard():
            server = await asyncio.get_running_loop().create_server(Talk, "127.0.0.1", 0)
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            await asyncio.sleep(60)

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(work())


def test_a_loop_that_sleeps_in_the_kernel_is_woken(prefects_handler: None) -> None:
    async def work() -> None:
        async with sigterm_heard():
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            await asyncio.sleep(60)

    before = signal.signal(signal.SIGALRM, lambda *_: _kill())
    try:
        with pytest.raises(TerminationSignal), capture_sigterm():
            asyncio.run(work())
    finally:
        signal.signal(signal.SIGALRM, before)


def test_in_the_flows_own_step_it_raises_there(prefects_handler: None) -> None:
    """A sync flow that is called, such as a training phase, would not hear of a cancelled task before its end."""

    async def work() -> None:
        async with sigterm_heard():
            _kill()
            raise AssertionError("went on")

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(work())


def test_one_that_comes_with_the_last_step_ends_the_flow_and_cancels_nothing_after_it(prefects_handler: None) -> None:
    async def work() -> None:
        with pytest.raises(TerminationSignal):
            async with sigterm_heard():
                asyncio.get_running_loop().call_soon(_kill)
                await asyncio.sleep(0)  # its step runs, and what it asks for comes after the block's last
        await asyncio.sleep(0.01)
        task = asyncio.current_task()
        assert task is not None and not task.cancelling()

    with capture_sigterm():
        asyncio.run(work())


def test_prefects_control_channel_takes_it_for_its_own(prefects_handler: None) -> None:
    """Without that a run that is cancelled in the dashboard ends as crashed."""

    async def work() -> None:
        async with sigterm_heard():
            assert engine.can_ack_control_intent()

    with capture_sigterm():
        asyncio.run(work())
        assert engine.can_ack_control_intent()


async def test_other_faults_and_cancellations_are_what_they_were() -> None:
    with pytest.raises(ZeroDivisionError):
        async with sigterm_heard():
            _ = 1 / 0
    with pytest.raises(asyncio.CancelledError):
        async with sigterm_heard():
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
            await asyncio.sleep(60)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
