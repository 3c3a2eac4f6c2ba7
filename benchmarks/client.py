"""Our whole path (ledger, budget, limiter, accounting, progress) against the bare openai SDK and a bare aiohttp loop.

All in one run against one loopback provider in a process of its own; each pair alternates, and ratios are medians.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import httpx
import httpx2
import openai

from benchmarks.measuring import Figure, report
from cogumi.dataset.progress import Progress
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


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run: requests a second and CPU milliseconds a request of this process."""

    rate: float
    cpu_ms: float


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    rounds, requests = (1, 400) if quick else (5, 2000)
    with LoopbackProcess(Behaviour(latency_s=0.05, canned=True)) as provider:
        ours, sdk, bare = _alternate(provider.url, rounds, requests, in_flight=100)
        httpx_run = asyncio.run(_httpx(httpx, provider.url, requests, 100))
        httpx2_run = asyncio.run(_httpx(httpx2, provider.url, requests, 100))
    with LoopbackProcess(Behaviour(latency_s=0.5, canned=True)) as provider:
        slow = [asyncio.run(_ours(provider.url, requests, 100)) for _ in range(1 if quick else 3)]
    with LoopbackProcess(
        Behaviour(latency_s=0.05, canned=True, fault_share=0.05, fault_names=["429-wait"])
    ) as provider:
        stray, loop = _stray(provider.url, rounds, requests)
    cpu = median(a.cpu_ms / b.cpu_ms for a, b in zip(ours, sdk, strict=True))
    rate = median(a.rate / b.rate for a, b in zip(ours, sdk, strict=True))
    waits = median(a.rate / b.rate for a, b in zip(stray, loop, strict=True))
    figures = [
        Figure("cpu a request, ours / openai SDK", cpu, "ratio", high=1.0),
        Figure("rate, ours / openai SDK", rate, "ratio", low=1.5),
        Figure("rate at 500 ms latency / ideal", median(run.rate for run in slow) / 200, "ratio", low=0.9),
        Figure("rate with 5% stray 429s, ours / loop that waits per request", waits, "ratio", low=0.85),
        Figure("cpu a request, ours", median(run.cpu_ms for run in ours), "ms"),
        Figure("cpu a request, openai SDK", median(run.cpu_ms for run in sdk), "ms"),
        Figure("cpu a request, bare aiohttp loop", median(run.cpu_ms for run in bare), "ms"),
        Figure("cpu a request, bare httpx loop", httpx_run.cpu_ms, "ms"),
        Figure("cpu a request, bare httpx2 loop", httpx2_run.cpu_ms, "ms"),
        Figure("rate, ours", median(run.rate for run in ours), "requests/s"),
        Figure("rate, openai SDK", median(run.rate for run in sdk), "requests/s"),
        Figure("rate, bare aiohttp loop", median(run.rate for run in bare), "requests/s"),
    ]
    settings = {"requests": requests, "in_flight": 100, "latency_s": 0.05, "rounds": rounds, "stray_in_flight": 50}
    report("client", figures, settings, save=save, table=table)


def _alternate(url: str, rounds: int, requests: int, in_flight: int) -> tuple[list[Run], list[Run], list[Run]]:
    runs: tuple[list[Run], list[Run], list[Run]] = ([], [], [])
    for _ in range(rounds):
        for place, one in enumerate((_ours, _sdk, _bare)):
            runs[place].append(asyncio.run(one(url, requests, in_flight)))
    return runs


def _stray(url: str, rounds: int, requests: int) -> tuple[list[Run], list[Run]]:
    ours, loop = [], []
    for _ in range(rounds):
        ours.append(asyncio.run(_ours(url, requests, 50)))
        loop.append(asyncio.run(_bare(url, requests, 50)))
    return ours, loop


async def _timed(one: Callable[[int], Awaitable[None]], requests: int, in_flight: int) -> Run:
    slots = asyncio.Semaphore(in_flight)

    async def limited(number: int) -> None:
        async with slots:
            await one(number)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(limited(number) for number in range(requests)))
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    return Run(requests / seconds, 1000 * used / requests)


async def _ours(url: str, requests: int, in_flight: int) -> Run:
    folder = Path(tempfile.mkdtemp(dir=Path.cwd()))  # where runs live: a real disk, not a memory file system
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}", "bench")
    teacher = LedgeredTeacher(
        provider="loopback",
        model=MODEL,
        wire=OpenAIWire(),
        transport=HttpTransport(f"{url}/v1", {}, 60, allow_loopback_http=True),
        ledger=ledger,
        budget=Budget(100.0),
        limiter=Limiter(None, None),
        retry=RetryPolicy(3, (2, 4, 8)),
        price=Price(150, 600, 75, 150, 150),
        in_flight=in_flight,
    )
    progress = Progress()
    progress.begin("bench", requests)

    async def one(number: int) -> None:
        await teacher.complete(Request(MODEL, "", f"question {number}", 100), "bench")
        progress.add("bench")

    try:
        run = await _timed(one, requests, in_flight)
        assert ledger.totals().received == requests, ledger.totals()
        return run
    finally:
        await teacher.aclose()
        ledger.close()
        shutil.rmtree(folder)


async def _sdk(url: str, requests: int, in_flight: int) -> Run:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def one(number: int) -> None:
            await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": f"question {number}"}], max_tokens=100
            )

        return await _timed(one, requests, in_flight)


async def _httpx(client_of: Any, url: str, requests: int, in_flight: int) -> Run:
    """A bare loop on httpx or httpx2, the clients that were not chosen."""
    limits = client_of.Limits(max_connections=None)
    async with client_of.AsyncClient(limits=limits, timeout=60) as client:

        async def one(number: int) -> None:
            body = {"model": MODEL, "messages": [{"role": "user", "content": f"question {number}"}], "max_tokens": 100}
            (await client.post(f"{url}/v1/chat/completions", json=body)).json()

        return await _timed(one, requests, in_flight)


async def _bare(url: str, requests: int, in_flight: int) -> Run:
    """A bare loop: no ledger, no accounting; it waits out a 429's Retry-After for the request that got it."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            body = {"model": MODEL, "messages": [{"role": "user", "content": f"question {number}"}], "max_tokens": 100}
            while True:
                async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
                    await reply.json()
                    if reply.status == 200:
                        return
                    wait = float(reply.headers["Retry-After"])
                await asyncio.sleep(wait)

        return await _timed(one, requests, in_flight)
