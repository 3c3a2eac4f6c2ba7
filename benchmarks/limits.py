"""Rate limits over real time and real HTTP: how much of a limit is used, how even, and who sends while told to wait."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Figure, report
from cogumi.store.ledger import Ledger
from cogumi.teachers.budget import Budget
from cogumi.teachers.limiter import Limiter
from cogumi.teachers.openai_compatible import OpenAIWire
from cogumi.teachers.pricing import Price
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.teachers.teacher import LedgeredTeacher
from cogumi.teachers.transport import HttpTransport
from cogumi.teachers.types import Request

MODEL = "loopback/answerer"
_ON_THE_WAY_S = 0.06  # a request sent before its sender could read the 429 is not counted against it


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    fast_s, slow_s, taught_s = (10, 20, 10) if quick else (60, 185, 45)
    fast = _arrivals(Behaviour(latency_s=0.05, canned=True), rpm=600, seconds=fast_s)[0]
    slow = _arrivals(Behaviour(latency_s=0.05, canned=True), rpm=60, seconds=slow_s)[0]
    taught, limited = _arrivals(Behaviour(latency_s=0.05, canned=True, rpm=300), rpm=None, seconds=taught_s)
    inside = sum(1 for at in taught for told, wait in limited if told + _ON_THE_WAY_S < at < told + wait - 0.001)
    after = [told for told, _ in limited if told > taught[0] + 5]
    figures = [
        Figure(
            "600 RPM: share of the allowed calls used", (len(fast) - 1) / (fast[-1] - fast[0]) / 10, "ratio", 0.97, 1.0
        ),
        Figure("600 RPM: calls in the fullest second / 10", _most_in(fast, 1.0) / 10, "ratio", high=1.2),
        Figure("60 RPM: calls in the fullest minute", _most_in(slow, 60.0), "calls", high=60),
        Figure("60 RPM: share of the allowed calls used", (len(slow) - 1) / (slow[-1] - slow[0]), "ratio", 0.97, 1.0),
        Figure("limit learned: calls inside a Retry-After window", inside, "calls", high=0),
        Figure("limit learned: 429s in all", len(limited), "calls"),
        Figure("limit learned: 429s after the first 5 s", len(after), "calls"),
        Figure(
            "limit learned: calls a minute reached of 300",
            60 * (len(taught) - len(limited)) / (taught[-1] - taught[0]),
            "calls",
        ),
    ]
    settings = {"seconds_600": fast_s, "seconds_60": slow_s, "seconds_learned": taught_s, "latency_s": 0.05}
    report("limits", figures, settings, save=save, table=table)


def _arrivals(behaviour: Behaviour, rpm: float | None, seconds: float) -> tuple[list[float], list[tuple[float, float]]]:
    """When calls reached the provider, and its 429s with the seconds it told to wait, on its own clock."""
    with LoopbackProcess(behaviour) as provider:
        asyncio.run(_ask_for(provider.url, rpm, seconds))
        seen = provider.look("/arrivals")
    return sorted(seen["arrivals"]), [tuple(pair) for pair in seen["limited"]]


async def _ask_for(url: str, rpm: float | None, seconds: float) -> None:
    """Twenty askers without end, cut off after `seconds`."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", "bench")
        teacher = LedgeredTeacher(
            provider="loopback",
            model=MODEL,
            wire=OpenAIWire(),
            transport=HttpTransport(f"{url}/v1", {}, 60, allow_loopback_http=True),
            ledger=ledger,
            budget=Budget(None),
            limiter=Limiter(rpm, None),
            retry=RetryPolicy(3, (2, 4, 8)),
            price=Price(150, 600, 75, 150, 150),
            in_flight=20,
        )
        until = time.monotonic() + seconds

        async def asker(number: int) -> None:
            count = 0
            while time.monotonic() < until:
                await teacher.complete(Request(MODEL, "", f"{number} {count}", 10), "bench")
                count += 1

        await asyncio.gather(*(asyncio.create_task(asker(number)) for number in range(20)))
        await teacher.aclose()
        ledger.close()


def _most_in(at: list[float], window_s: float) -> int:
    """The most arrivals in any window of this length."""
    best = start = 0
    for end, moment in enumerate(at):
        while moment - at[start] >= window_s:
            start += 1
        best = max(best, end - start + 1)
    return best
