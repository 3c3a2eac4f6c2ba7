"""LedgeredTeacher: one provider and model, with the contract about money kept around every call.

    reply = await teacher.complete(Request(model, system, user, max_tokens=500), stage="answers_easy")

In this order: ledger first (a reply once received is never bought again), budget, limiter, the intent made
durable, the send, the outcome made durable, then the reply counts. Retries are new ledger rows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol

from cogumi.errors import CogumiError, RunError
from cogumi.store.ledger import Attempt, Ledger
from cogumi.teachers.budget import Budget
from cogumi.teachers.cache_watch import CacheWatch
from cogumi.teachers.limiter import Limiter
from cogumi.teachers.outcomes import failed, received
from cogumi.teachers.pricing import Price, prompt_bytes
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.transport import RawReply, retry_after_s
from cogumi.teachers.types import Reply, Request, Usage, request_key
from cogumi.teachers.wire_errors import WireError, status_code

_FAILURES_IN_A_ROW = 25
_DRAIN_S = 20.0


class Wire(Protocol):
    """How requests and replies look as bytes."""

    @property
    def path(self) -> str: ...
    def encode(self, request: Request) -> bytes: ...
    def decode(self, body: bytes, asked_model: str) -> Reply: ...


class Transport(Protocol):
    """How bytes get to the provider and back."""

    async def post(self, path: str, body: bytes) -> RawReply: ...
    async def aclose(self) -> None: ...


@dataclass(slots=True)
class Tally:
    """Calls of this process; what a report shows comes from the ledger, which outlives it."""

    bought: int = 0
    reused: int = 0
    retried: int = 0
    open: int = 0


class LedgeredTeacher:
    """A Teacher over any wire and transport. Share one per provider and model: it owns limiter and connection slots."""

    def __init__(
        self,
        *,
        provider: str,
        model: str,
        wire: Wire,
        transport: Transport,
        ledger: Ledger,
        budget: Budget,
        limiter: Limiter,
        retry: RetryPolicy,
        price: Price,
        in_flight: int,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.provider = provider
        self.model = model
        self.tally = Tally()
        self.limiter = limiter
        self.cache_watch = CacheWatch()
        self.wire = wire
        self._transport = transport
        self._ledger = ledger
        self._budget = budget
        self._retry = retry
        self._price = price
        self._slots = asyncio.Semaphore(in_flight)
        self._wall_clock = wall_clock
        self._pending: dict[str, asyncio.Task[Reply]] = {}
        self._open: set[asyncio.Task[Reply]] = set()
        self._abandoned: set[asyncio.Task[Reply]] = set()
        self._closing = False
        self._broken: CogumiError | None = None
        self._failed_in_a_row = 0

    async def complete(self, request: Request, stage: str) -> Reply:
        """The reply to a request, from the ledger where it was bought before.

        Raises WireError when the attempts are used up or the error is not worth another; BudgetError
        budget-reached; StorageError where the reply could not be made durable; RunError too-many-failures.
        """
        key = request_key(self.provider, request)
        stored = self._ledger.reply(key)
        if stored is not None:
            self.tally.reused += 1
            body, received_at = stored
            return replace(self.wire.decode(body, request.model), request_key=key, received_at=received_at, reused=True)
        if key in self._pending:
            return await asyncio.shield(self._pending[key])
        return await self._buy_once(key, request, stage)

    async def aclose(self) -> None:
        """Close; replies that are under way are waited for, 20 s at most, since they are paid for."""
        self._closing = True
        if self._open:
            await asyncio.wait(self._open, timeout=_DRAIN_S)
            for attempt in self._open:
                attempt.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
        await self._transport.aclose()

    async def _buy_once(self, key: str, request: Request, stage: str) -> Reply:
        """Buy, with later askers of the same request waiting for the same call."""
        buying = asyncio.ensure_future(self._buy_in_turn(key, request, stage))
        self._pending[key] = buying
        try:
            return await buying
        finally:
            del self._pending[key]

    async def _buy_in_turn(self, key: str, request: Request, stage: str) -> Reply:
        async with self.cache_watch.turn(request):
            return await self._buy(key, request, stage)

    async def _buy(self, key: str, request: Request, stage: str) -> Reply:
        failures = limited = 0
        waited = 0.0
        while True:
            async with self._slots:
                self._refuse_if_broken()
                if self._closing:
                    raise asyncio.CancelledError  # the run is over, and this caller has not been told yet
                try:
                    reply = await self._to_its_end(self._attempt(key, request, stage, waited))
                    self._failed_in_a_row = 0
                    return reply
                except WireError as error:
                    failure = error
            is_limit = failure.status == 429 and failure.entry.retry
            failures, limited = failures + (not is_limit), limited + is_limit
            wait = self._retry.wait_s(failure, failures, limited)
            if wait is None:
                raise self._give_up(failure)
            self.tally.retried += 1
            waited = wait
            await asyncio.sleep(wait)

    async def _to_its_end(self, attempt: Coroutine[Any, Any, Reply]) -> Reply:
        """An attempt that has been sent goes on when nobody waits for it any more: its reply is in the ledger then."""
        task = asyncio.ensure_future(attempt)
        # Left by an exception, such as Prefect's at SIGTERM, asyncio.run cancels every task that it knows. This one is
        # waited for by aclose.
        asyncio.tasks._unregister_task(task)
        self._open.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._abandoned.add(task)
            raise

    def _forget(self, task: asyncio.Task[Reply]) -> None:
        self._open.discard(task)
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more

    async def _attempt(self, key: str, request: Request, stage: str, waited: float) -> Reply:
        """One send. Every way out leaves a settled ledger row, except a crash, which leaves the intent."""
        worst = self._price.worst(request)
        self._budget.reserve(worst)
        cost = risk = 0
        try:
            body = self.wire.encode(request)
            reserved = await self.limiter.acquire(prompt_bytes(request) // 4, request.max_tokens)
            if self._closing or asyncio.current_task() in self._abandoned:
                raise asyncio.CancelledError  # not sent yet, and nobody waits for it
            number = self._ledger.attempts_made(key) + 1
            await self._ledger.intend(
                Attempt(key, number, stage, self.provider, request.model, body, worst, self._wall_clock())
            )
            risk = worst
            try:
                raw = await self._send(body)
                reply = await self._read(key, number, raw, request.model, worst, waited)
            except WireError as error:
                outcome = failed(key, number, error, worst, self._wall_clock(), waited)
                self.limiter.settle(reserved, 0, 0)
                await self._ledger.settle(outcome)
                risk = outcome.at_risk_nanousd
                raise
            outcome = received(key, number, raw.body, reply, self._price, worst, self._wall_clock(), waited)
            self.limiter.settle(reserved, reply.usage.prompt + reply.usage.completion, reply.usage.completion)
            await self._ledger.settle(outcome)
            cost, risk = outcome.cost_nanousd, outcome.at_risk_nanousd
            self.cache_watch.note(request, reply.usage)
            return replace(reply, request_key=key, received_at=outcome.finished_at)
        finally:
            self._budget.settle(worst, cost, risk)

    async def _send(self, body: bytes) -> RawReply:
        """A 200 whose last byte was read. Raises WireError for anything else."""
        self.tally.open += 1
        try:
            raw = await self._transport.post(self.wire.path, body)
        finally:
            self.tally.open -= 1
        if raw.status != 200:
            wait = retry_after_s(raw.headers)
            error = WireError(
                status_code(raw.status, raw.body, wait is not None),
                raw.body[:200].decode("utf-8", "replace"),
                raw.status,
                wait,
                raw.body,
            )
            if raw.status == 429:
                self.limiter.limited(raw.headers, wait)
            raise error
        self.limiter.observe(raw.headers)
        self.tally.bought += 1
        return raw

    async def _read(self, key: str, number: int, raw: RawReply, model: str, worst: int, waited: float) -> Reply:
        """The reply in the envelope. Where our own reader fails on it, the paid bytes are made durable before the
        error goes on: once the reader is mended they are read from the ledger, and nothing is bought again.
        """
        try:
            return self.wire.decode(raw.body, model)
        except WireError:
            raise
        except Exception:
            unread = Reply("", "stop", Usage(), model, notes=("reply-unread",))
            outcome = received(key, number, raw.body, unread, self._price, worst, self._wall_clock(), waited)
            await self._ledger.settle(outcome)
            raise

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _give_up(self, error: WireError) -> CogumiError:
        """The error to raise; a fatal one, or too many in a row, stops every later call to this teacher."""
        self._failed_in_a_row += 1
        if error.entry.fatal:
            self._broken = error
        elif self._failed_in_a_row >= _FAILURES_IN_A_ROW:
            told = f"{self.provider} {self.model}: {self._failed_in_a_row} in a row, last {error.code}"
            self._broken = RunError("too-many-failures", told)
        return self._broken or error
