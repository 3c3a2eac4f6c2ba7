"""BatchFollower: one batch from its submission to its results, whichever process it was that submitted it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cogumi.errors import RunError
from cogumi.store.batch_rows import Batch, BatchState
from cogumi.store.ledger import Ledger, Outcome
from cogumi.teachers.batch_desk import BatchDesk, BatchItem, BatchResult
from cogumi.teachers.budget import Budget
from cogumi.teachers.cache_watch import CacheWatch
from cogumi.teachers.outcomes import failed, received
from cogumi.teachers.pricing import Price
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.teacher import Wire
from cogumi.teachers.types import Reply, Request, Usage
from cogumi.teachers.wire_errors import WireError

_MOST_BLIND_LOOKS = 30
_SETTLED_AT_ONCE = 500
_QUEUE_FULL = ("token_limit_exceeded", "queue_full")


@dataclass(slots=True, eq=False)
class Joined:
    """A request that waits for its batch. `request` is unknown where an earlier process made it."""

    key: str
    encode: Callable[[], bytes]  # bodies are long and many wait: made when they are sent
    stage: str
    worst: int
    tokens: int
    future: asyncio.Future[Reply]
    request: Request | None = None
    attempt: int = 0
    outcome: Reply | Exception | None = None

    def release(self) -> None:
        """Tell whoever waits what came of it."""
        if self.future.done() or self.outcome is None:
            return
        if isinstance(self.outcome, Reply):
            self.future.set_result(self.outcome)
        else:
            self.future.set_exception(self.outcome)

    def fail(self, error: Exception) -> None:
        """Release it with an error, unless it has an outcome."""
        self.outcome = self.outcome or error
        self.release()


class BatchFollower:
    """Knows how to submit, look, collect and settle.

    Budget was reserved for items of this process. The worst case of adopted ones is in the ledger's at-risk sum, from
    which the budget started.
    """

    def __init__(
        self,
        desk: BatchDesk,
        wire: Wire,
        ledger: Ledger,
        budget: Budget,
        price: Price,
        poll_s: float,
        retry: RetryPolicy,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self._wire = wire
        self._ledger = ledger
        self._budget = budget
        self._price = price
        self._poll_s = poll_s
        self._retry = retry
        self._wall_clock = wall_clock

    async def follow(self, batch: Batch, items: list[Joined], watch: CacheWatch) -> str:
        """Returns "" when every item has its outcome, or the code of a refusal that may pass (batch-queue-full).

        Raises WireError batch-refused and other fatal ones; RunError batch-unreachable, after which the batch is still
        open and the next process follows it.
        """
        if not batch.provider_id:
            submitted = await self._submit(batch, items)
            if submitted is None:
                return ""
            batch = submitted
        try:
            refusal = await self._until_ended(batch)
        except WireError as error:
            if error.status != 404:
                raise
            await self._end(batch, items, "lost", WireError("batch-lost", batch.provider_id))
            return ""
        if not refusal:
            await self._collect(batch, items, watch)
            return ""
        full = refusal in _QUEUE_FULL
        refused = WireError("batch-queue-full" if full else "batch-refused", refusal)
        await self._end(batch, items, "refused", refused)
        if not full:
            raise refused
        return refused.code

    async def close_empty(self, batch: Batch) -> None:
        """Note the end of a batch all of whose items were settled by a process that died before it could say so."""
        await self._ledger.note_batch(self._ended(batch, "ended"))

    # -- submitting

    async def _submit(self, batch: Batch, items: list[Joined]) -> Batch | None:
        """Hand the batch in; None where it is lost. One that may be there is looked for before it is made again.

        What may have been submitted, by this process or an earlier one, is never submitted again: where the provider
        does not list it, its items are unknown, with their worst case at risk.
        """
        requests = [BatchItem(item.key, item.encode()) for item in items]
        maybe_there = items[0].request is None  # an earlier process recorded it and died
        failures = 0
        while True:
            try:
                found = await self._find(batch, items) if maybe_there else None
                if maybe_there and found is None:
                    await self._end(batch, items, "lost", WireError("batch-lost", batch.label))
                    return None
                batch = replace(batch, provider_id=found or await self._desk.submit(batch.label, requests))
                await self._ledger.note_batch(batch)
                return batch
            except WireError as error:
                failures += 1
                maybe_there = maybe_there or error.entry.billable
                wait = self._retry.wait_s(error, failures, failures)
                if wait is None:
                    if not maybe_there:
                        await self._end(batch, items, "refused", error)
                    raise error if error.entry.fatal else _unreachable(batch, error) from error
                await asyncio.sleep(wait)

    async def _find(self, batch: Batch, items: list[Joined]) -> str | None:
        taken = {known.provider_id for known in self._ledger.batches() if known.provider_id}
        while True:
            try:
                return await self._desk.find(batch.label, {item.key for item in items}, batch.submitted_at, taken)
            except WireError as error:
                if error.code != "conflict":  # one that may be ours has not ended: it must be waited for
                    raise
                await asyncio.sleep(self._poll_s)

    # -- waiting

    async def _until_ended(self, batch: Batch) -> str:
        """Look until the batch has ended; returns the provider's word for a refusal."""
        blind = 0
        while True:
            try:
                look = await self._desk.look(batch.provider_id)
                if look.ended:
                    return look.refusal
                blind = 0
            except WireError as error:
                blind += 1
                if not error.entry.retry:
                    raise
                if blind > _MOST_BLIND_LOOKS:
                    raise _unreachable(batch, error) from error
            await asyncio.sleep(self._poll_s)

    # -- results

    async def _collect(self, batch: Batch, items: list[Joined], watch: CacheWatch) -> None:
        """Read the results, as often as it takes to read them whole, and settle each item as it is read (C1)."""
        open_items = {item.key: item for item in items}
        failures = 0
        while open_items:
            try:
                await self._read_results(batch, open_items, watch)
                break
            except WireError as error:
                failures += 1
                wait = self._retry.wait_s(error, failures, failures)
                if wait is None:
                    raise _unreachable(batch, error) from error
                await asyncio.sleep(wait)
        left = list(open_items.values())
        await self._end(batch, left, "ended", WireError("batch-line-broken", batch.provider_id))
        for item in items:
            item.release()

    async def _read_results(self, batch: Batch, open_items: dict[str, Joined], watch: CacheWatch) -> None:
        settling: list[asyncio.Task[None]] = []
        async for result in self._desk.results(batch.provider_id):
            item = open_items.pop(result.key, None)
            if item is None:
                continue  # not ours, or a line that came twice
            settling.append(asyncio.ensure_future(self._settle_result(batch.model, item, result, watch)))
            if len(settling) >= _SETTLED_AT_ONCE:
                await asyncio.gather(*settling)
                settling.clear()
        await asyncio.gather(*settling)

    async def _settle_result(self, model: str, item: Joined, result: BatchResult, watch: CacheWatch) -> None:
        if result.error is not None:
            await self._settle(item, failed(item.key, item.attempt, result.error, item.worst, self._wall_clock()))
            item.outcome = result.error
            return
        try:
            reply = self._wire.decode(result.body, model)
        except WireError as error:
            await self._settle(item, failed(item.key, item.attempt, error, item.worst, self._wall_clock()))
            item.outcome = error
            return
        except Exception:  # our own reader's mistake: the paid bytes are kept, as for a single call
            unread = Reply("", "stop", Usage(), model, notes=("reply-unread",))
            now = self._wall_clock()
            await self._settle(
                item, received(item.key, item.attempt, result.body, unread, self._price, item.worst, now)
            )
            raise
        outcome = received(item.key, item.attempt, result.body, reply, self._price, item.worst, self._wall_clock())
        await self._settle(item, outcome)
        item.outcome = replace(reply, request_key=item.key, received_at=outcome.finished_at)
        try:
            if item.request is not None:
                watch.note(item.request, reply.usage)
        except WireError as error:
            item.outcome = error

    async def _settle(self, item: Joined, outcome: Outcome) -> None:
        await self._ledger.settle(outcome)
        if item.request is not None:
            self._budget.settle(item.worst, outcome.cost_nanousd, outcome.at_risk_nanousd)
        else:
            self._budget.settle(0, outcome.cost_nanousd, outcome.at_risk_nanousd - item.worst)

    async def _end(self, batch: Batch, items: list[Joined], state: BatchState, error: WireError) -> None:
        """Settle what has no outcome with an error, then note the batch's end. Items learn of it where it is theirs."""
        now = self._wall_clock()
        await asyncio.gather(*(self._settle(i, failed(i.key, i.attempt, error, i.worst, now)) for i in items))
        await self._ledger.note_batch(self._ended(batch, state))
        if error.code != "batch-queue-full":
            for item in items:
                item.fail(error)

    def _ended(self, batch: Batch, state: BatchState) -> Batch:
        outcomes = self._ledger.batch_outcomes(batch.label)
        succeeded = outcomes.pop("received", 0)
        lost = sum(outcomes.values())
        return replace(batch, state=state, succeeded=succeeded, failed=lost, ended_at=self._wall_clock())


def _unreachable(batch: Batch, error: WireError) -> RunError:
    return RunError("batch-unreachable", f"{batch.provider} {batch.provider_id or batch.label}: {error.code}")
