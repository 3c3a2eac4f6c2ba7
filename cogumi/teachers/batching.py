"""BatchedTeacher: a Teacher that buys through a provider's batch API, with the same contract about money.

    reply = await teacher.complete(Request(...), stage="answers_easy")     # answered when its batch has ended

Requests gather until nobody joins any more, go out in batches within the provider's limits, and come back one by one.
A batch is in the ledger before it is submitted, and its id before it is looked at; a later process follows the batches
that this one left open. Items that fail, expire or are missing are asked again as single calls.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from cogumi.errors import CogumiError
from cogumi.recipe import BatchSection
from cogumi.store.batch_rows import Batch
from cogumi.store.ledger import Attempt, Ledger
from cogumi.teachers.batch_desk import BatchDesk, BatchItem
from cogumi.teachers.batch_follow import BatchFollower, Joined
from cogumi.teachers.batch_shards import shards_within
from cogumi.teachers.budget import Budget
from cogumi.teachers.pricing import Price, prompt_bytes
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.teacher import LedgeredTeacher, Tally, Wire
from cogumi.teachers.types import Reply, Request, request_key
from cogumi.teachers.wire_errors import WireError

_MOST_SUBMISSIONS = 8


@dataclass(slots=True)
class _Room:
    """Prompt tokens that may still be enqueued at the provider."""

    limit: int | None
    used: int = 0

    def fits(self, tokens: int) -> bool:
        return self.limit is None or self.used == 0 or self.used + tokens <= self.limit


class BatchedTeacher:
    """A Teacher over a batch desk. `single` is the same model asked call by call: it primes a cache, and takes what a
    batch did not answer."""

    def __init__(
        self,
        *,
        single: LedgeredTeacher,
        desk: BatchDesk,
        wire: Wire,
        ledger: Ledger,
        budget: Budget,
        price: Price,
        section: BatchSection,
        retry: RetryPolicy,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.provider = single.provider
        self.model = single.model
        self.tally = Tally()
        self._single = single
        self._desk = desk
        self._wire = wire
        self._ledger = ledger
        self._budget = budget
        self._price = price.batched(section.price_share)
        self._section = section
        self._retry = retry
        self._wall_clock = wall_clock
        self._follower = BatchFollower(desk, wire, ledger, budget, self._price, section.poll_s, retry, wall_clock)
        self._futures: dict[str, asyncio.Future[Reply]] = {}
        self._priming = asyncio.Lock()
        self._gathering: list[Joined] = []
        self._last_joined = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(section.open_batches)
        self._room = _Room(section.max_enqueued_tokens)
        self._room_changed = asyncio.Condition()

    def adopt(self) -> int:
        """Follow the batches that an earlier process left open. Returns how many. Call once, when the loop runs."""
        ours = [b for b in self._ledger.batches() if b.state == "open" and self._is_ours(b)]
        for batch in ours:
            items = [self._adopted(attempt) for attempt in self._ledger.batch_items(batch.label)]
            self._spawn(self._follow(batch, items) if items else self._follower.close_empty(batch), items)
        return len(ours)

    async def complete(self, request: Request, stage: str) -> Reply:
        """The reply to a request, once its batch has ended; from the ledger where it was bought before.

        Raises as `LedgeredTeacher.complete` does, and WireError batch-refused where the provider takes no batch.
        """
        key = request_key(self.provider, request)
        stored = self._ledger.reply(key)
        if stored is not None:
            self.tally.reused += 1
            return replace(
                self._wire.decode(stored[0], self.model), request_key=key, received_at=stored[1], reused=True
            )
        if key not in self._futures and request.cache != "off":
            primed = await self._prime(request, stage)
            if primed is not None:
                return primed
        future = self._futures.get(key) or self._join(key, request, stage)
        try:
            return await asyncio.shield(future)
        except WireError as error:
            if not error.entry.retry:
                raise
        self.tally.retried += 1
        return await self._single.complete(request, stage)

    async def _prime(self, request: Request, stage: str) -> Reply | None:
        """The first call of a prefix goes alone and by itself, to write the cache; None once it is there."""
        async with self._priming:
            if self._single.cache_watch.warm(request):
                return None
            return await self._single.complete(request, stage)

    async def aclose(self) -> None:
        """Stop following; open batches stay open at the provider, and the next process follows them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for future in self._futures.values():
            future.cancel()
        await self._desk.aclose()

    # -- gathering

    def _join(self, key: str, request: Request, stage: str) -> asyncio.Future[Reply]:
        item = Joined(
            key=key,
            encode=lambda: self._wire.encode(request),
            stage=stage,
            worst=self._price.worst(request),
            tokens=prompt_bytes(request) // 4,
            future=self._promise(key),
            request=request,
        )
        self._last_joined = time.monotonic()
        if not self._gathering:
            self._spawn(self._send_when_gathered(), self._gathering)
        self._gathering.append(item)
        return item.future

    def _promise(self, key: str) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._futures[key] = future
        future.add_done_callback(lambda done: self._forget(key, done))
        return future

    def _forget(self, key: str, done: asyncio.Future[Reply]) -> None:
        self._futures.pop(key, None)
        if not done.cancelled():
            done.exception()  # an item that nobody waits for any more may fail in peace

    def _adopted(self, attempt: Attempt) -> Joined:
        return Joined(
            key=attempt.request_key,
            encode=lambda: attempt.request,
            stage=attempt.stage,
            worst=attempt.at_risk_nanousd,
            tokens=len(attempt.request) // 4,
            future=self._promise(attempt.request_key),
            attempt=attempt.attempt,
        )

    async def _send_when_gathered(self) -> None:
        """Wait until no request has joined for `gather_s`, or a full batch is there; then send all that is."""
        while len(self._gathering) < self._section.max_requests:
            left = self._last_joined + self._section.gather_s - time.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(left)
        items, self._gathering = self._gathering, []
        by_stage: dict[str, list[Joined]] = {}
        for item in items:
            by_stage.setdefault(item.stage, []).append(item)
        for stage_items in by_stage.values():
            sizes = [self._size(item) for item in stage_items]
            for shard in shards_within(stage_items, sizes, self._section):
                self._spawn(self._buy(shard), shard)

    def _spawn(self, work: Coroutine[Any, Any, Any], items: list[Joined]) -> None:
        """Work in the background. Should it fail by our own mistake, its items get the error: nobody waits for ever."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def ended(done: asyncio.Task[Any]) -> None:
            self._tasks.discard(done)
            error = None if done.cancelled() else done.exception()
            if isinstance(error, Exception):
                fail_all(items, error)

        task.add_done_callback(ended)

    # -- buying

    async def _buy(self, items: list[Joined]) -> None:
        """One batch from reservation to results; whatever goes wrong reaches its items."""
        tokens = sum(item.tokens for item in items)
        try:
            async with self._slots:
                await self._enter(tokens)
                try:
                    await self._submit_and_follow(items)
                finally:
                    await self._leave(tokens)
        except CogumiError as error:
            fail_all(items, error)

    async def _submit_and_follow(self, items: list[Joined]) -> None:
        for again in range(_MOST_SUBMISSIONS):
            batch, kept = await self._record(items)
            if not kept or await self._follow(batch, kept) != "batch-queue-full":
                return
            await asyncio.sleep(self._section.poll_s * (again + 1))
        raise WireError("batch-queue-full", f"{self.provider} {self.model}: refused {_MOST_SUBMISSIONS} times")

    async def _record(self, items: list[Joined]) -> tuple[Batch, list[Joined]]:
        """Reserve the money, then make the batch and each of its items durable before anything is sent (C2, C4).

        Returns the batch and the items there was money for; the others have failed.
        """
        kept: list[Joined] = []
        for item in items:
            try:
                self._budget.reserve(item.worst)
            except CogumiError as error:
                fail_all(items[len(kept) :], error)
                break
            kept.append(item)
        now = self._wall_clock()
        stage = items[0].stage
        batch = Batch(
            label=f"{stage}-{secrets.token_hex(8)}",
            provider=self.provider,
            model=self.model,
            stage=stage,
            requests=len(kept),
            bytes=sum(map(self._size, kept)),
            enqueued_tokens=sum(item.tokens for item in kept),
            submitted_at=now,
        )
        if not kept:
            return batch, []
        await self._ledger.open_batch(batch)
        for item in kept:
            item.attempt = self._ledger.attempts_made(item.key) + 1
        intents = (
            Attempt(i.key, i.attempt, stage, self.provider, self.model, i.encode(), i.worst, now, batch.label)
            for i in kept
        )
        await asyncio.gather(*(self._ledger.intend(attempt) for attempt in intents))
        return batch, kept

    async def _follow(self, batch: Batch, items: list[Joined]) -> str:
        """Submit where that has not been done, wait for the end, hand out the results. Returns a refusal's code."""
        try:
            return await self._follower.follow(batch, items, self._single.cache_watch)
        except CogumiError as error:
            fail_all(items, error)
            return ""
        finally:
            self.tally.bought += sum(isinstance(item.outcome, Reply) for item in items)

    async def _enter(self, tokens: int) -> None:
        async with self._room_changed:
            await self._room_changed.wait_for(lambda: self._room.fits(tokens))
            self._room.used += tokens

    async def _leave(self, tokens: int) -> None:
        async with self._room_changed:
            self._room.used -= tokens
            self._room_changed.notify_all()

    def _size(self, item: Joined) -> int:
        return self._desk.item_bytes(BatchItem(item.key, item.encode()))

    def _is_ours(self, batch: Batch) -> bool:
        return (batch.provider, batch.model) == (self.provider, self.model)


def fail_all(items: list[Joined], error: Exception) -> None:
    """Give an error to every item that has no outcome yet."""
    for item in items:
        item.fail(error)
