"""The limiter on a virtual clock: even pacing, no minute above its limit, pauses for true limits only."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine
from typing import Any

import pytest

from cogumi.teachers.limiter import Limiter
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.wire_errors import WireError


class VirtualTime:
    """A clock and a sleep that jump to the next waking time: an hour of pacing takes milliseconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, late_s: float = 0.0) -> None:
        self.now = 1000.0
        self._late_s = late_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        monkeypatch.setattr("cogumi.teachers.limiter.asyncio.sleep", self.sleep)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds + self._late_s, self._count, future))
        await future

    async def run(self, *coroutines: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(c) for c in coroutines]
        while not all(task.done() for task in tasks):
            for _ in range(4):
                loop_turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_soon(loop_turn.set_result, None)
                await loop_turn
            if self._sleepers and not all(task.done() for task in tasks):
                when, _, future = heapq.heappop(self._sleepers)
                self.now = max(self.now, when)
                if not future.done():
                    future.set_result(None)
        for task in tasks:
            task.result()


async def sends(time: VirtualTime, limiter: Limiter, count: int, tokens: int = 0) -> list[float]:
    at: list[float] = []

    async def one() -> None:
        await limiter.acquire(tokens, 0)
        at.append(time.now)

    await time.run(*(one() for _ in range(count)))
    return at


def most_in(at: list[float], window_s: float) -> int:
    best = start = 0
    for end in range(len(at)):
        while at[end] - at[start] >= window_s:
            start += 1
        best = max(best, end - start + 1)
    return best


@pytest.mark.parametrize(("rpm", "late_s"), [(60, 0.0), (60, 0.05), (600, 0.0), (600, 0.02), (6000, 0.004)])
async def test_no_minute_passes_the_limit_and_hardly_a_call_is_left_unused(
    monkeypatch: pytest.MonkeyPatch, rpm: float, late_s: float
) -> None:
    time = VirtualTime(monkeypatch, late_s)
    count = int(rpm * 3)
    at = await sends(time, Limiter(rpm, None, time.clock), count)
    assert most_in(at, 60.0) <= rpm
    assert most_in(at, 1.0) <= max(1.2 * rpm / 60, 2)
    assert 0.97 <= (count - 1) / (at[-1] - at[0]) * 60 / rpm <= 1.0


async def test_tokens_a_minute_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime(monkeypatch)
    at = await sends(time, Limiter(None, 60_000, time.clock), 100, tokens=2000)
    assert 0.97 <= 99 * 2000 / (at[-1] - at[0]) * 60 / 60_000 <= 1.0


async def test_what_was_reserved_too_much_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime(monkeypatch)
    limiter = Limiter(None, 60_000, time.clock)
    began = time.now
    for _ in range(50):
        reserved = await _acquire(time, limiter, 2000)
        limiter.settle(reserved, 200, 0)
    assert time.now - began < 50 * 200 / 1000 * 1.6


async def _acquire(time: VirtualTime, limiter: Limiter, tokens: int) -> int:
    found: list[int] = []

    async def one() -> None:
        found.append(await limiter.acquire(tokens, 0))

    await time.run(one())
    return found[0]


def test_limits_are_learned_and_only_ever_lowered() -> None:
    limiter = Limiter(None, None)
    limiter.observe({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"})
    assert (limiter.rpm, limiter.tpm) == (500, 30000)
    limiter.observe({"anthropic-ratelimit-requests-limit": "50"})
    assert limiter.rpm == 50
    limiter.observe({"x-ratelimit-limit-requests": "9000"})
    assert limiter.rpm == 50
    limiter.observe({"x-ratelimit-limit-requests": "soon"})
    assert limiter.rpm == 50


async def test_a_true_limit_pauses_everyone_and_nobody_sends_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime(monkeypatch)
    limiter = Limiter(600, None, time.clock)
    at: list[float] = []
    told: list[float] = []

    async def one(number: int) -> None:
        await limiter.acquire(0, 0)
        at.append(time.now)
        if number == 10:
            assert limiter.limited({"x-ratelimit-remaining-requests": "0"}, 5.0)
            told.append(time.now)

    await time.run(*(one(number) for number in range(40)))
    inside = [t for t in at if told[0] < t < told[0] + 5.0]
    assert inside == []
    assert most_in([t for t in at if t > told[0]], 1.0) <= 12  # no burst after the pause


def test_a_stray_429_pauses_nobody_else_and_a_storm_does() -> None:
    limiter = Limiter(None, None)
    for _ in range(60):
        limiter.observe({})
    assert not limiter.limited({}, 1.0)
    assert not limiter.limited({"x-ratelimit-remaining-requests": "12"}, 1.0)
    paused = [limiter.limited({}, 1.0) for _ in range(12)]
    assert paused[-1] and limiter.pauses >= 1


@pytest.mark.parametrize(("failures", "low", "high"), [(1, 1.5, 2.5), (2, 3.0, 5.0), (3, 6.0, 10.0), (4, 6.0, 10.0)])
def test_waits_are_two_four_eight_seconds_with_a_quarter_of_jitter(failures: int, low: float, high: float) -> None:
    policy = RetryPolicy(9, (2, 4, 8))
    waits = [policy.wait_s(WireError("server-error"), failures, 0) for _ in range(50)]
    assert all(wait is not None and low <= wait <= high for wait in waits)
    assert len(set(waits)) > 10


def test_what_is_not_worth_another_attempt_gets_none() -> None:
    policy = RetryPolicy(3, (2, 4, 8))
    assert policy.wait_s(WireError("bad-request"), 1, 0) is None
    assert policy.wait_s(WireError("server-error"), 3, 0) is None
    assert policy.wait_s(WireError("rate-limited-wait", retry_after_s=7.0), 3, 1) == 7.0
    assert policy.wait_s(WireError("rate-limited"), 0, 21) is None
