"""Batches and prompt caching over real HTTP: nothing bought twice, nothing lost, whatever becomes of a batch."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cogumi.errors import BudgetError
from cogumi.recipe import BatchSection
from cogumi.store.ledger import Ledger
from cogumi.teachers.anthropic_batch import AnthropicBatchDesk
from cogumi.teachers.anthropic_messages import AnthropicWire
from cogumi.teachers.batch_desk import BatchDesk, BatchItem
from cogumi.teachers.batch_shards import shards_within
from cogumi.teachers.batching import BatchedTeacher
from cogumi.teachers.budget import Budget
from cogumi.teachers.openai_batch import OpenAIBatchDesk
from cogumi.teachers.openai_compatible import OpenAIWire
from cogumi.teachers.pricing import Price
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.teachers.teacher import LedgeredTeacher
from cogumi.teachers.types import Request, request_key
from cogumi.teachers.wire_errors import WireError
from tests.conftest import MODEL, bill_of
from tests.torture.oracle import check_money

Start = Callable[..., LoopbackProcess]
Hire = Callable[..., LedgeredTeacher]
HireBatched = Callable[..., BatchedTeacher]
THINKER = "loopback/thinker"
PRICES = {"openai": Price(150, 600, 75, 150, 150), "anthropic": Price(2000, 10000, 200, 2500, 4000)}
KINDS = ["openai", "anthropic"]
GUIDE = "Read this guide before every answer. " * 300


@pytest.fixture
async def batched(hire: Hire, ledger: Ledger) -> AsyncIterator[HireBatched]:
    """Makes batched teachers on the test's ledger, closed at its end."""
    made: list[BatchedTeacher] = []

    def make(url: str, kind: str = "openai", budget: Budget | None = None, **section: Any) -> BatchedTeacher:
        anthropic = kind == "anthropic"
        root = url if anthropic else f"{url}/v1"
        desk: BatchDesk = (AnthropicBatchDesk if anthropic else OpenAIBatchDesk)(root, "", 10, allow_loopback_http=True)
        shared = {"budget": budget or Budget(None), "retry": RetryPolicy(4, (0.02,)), "price": PRICES[kind]}
        single = hire(url, anthropic=anthropic, model=THINKER if anthropic else MODEL, **shared)
        settings = {"gather_s": 0.05, "poll_s": 0.05, **section}
        wire = AnthropicWire() if anthropic else OpenAIWire()
        teacher = BatchedTeacher(
            single=single, desk=desk, wire=wire, ledger=ledger, section=BatchSection(**settings), **shared
        )
        made.append(teacher)
        return teacher

    yield make
    for teacher in made:
        await teacher.aclose()


def asks(count: int, kind: str = "openai", cache: Any = "off") -> list[Request]:
    model = THINKER if kind == "anthropic" else MODEL
    return [
        Request(model, GUIDE if cache != "off" else "Be brief.", f"question {n}", 100, cache=cache)
        for n in range(count)
    ]


async def submit_and_leave(teacher: BatchedTeacher, requests: list[Request], ledger: Ledger) -> None:
    """Ask, and go away as soon as the batch is at the provider, as a process that ends then does."""
    tasks = [asyncio.create_task(teacher.complete(request, "s")) for request in requests]
    while not any(batch.provider_id for batch in ledger.batches()):
        await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await teacher.aclose()


def money(tmp_path: Path) -> Any:
    """The two independent accounts agree; see the oracle."""
    return check_money(tmp_path, tmp_path / "bill-0.tsv")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_answers_everybody_at_half_the_price(
    kind: str, loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = batched(loopback(batch_s=0.1).url, kind)
    replies = await asyncio.gather(*(teacher.complete(r, "answers") for r in asks(40, kind)))
    assert len({reply.request_key for reply in replies}) == 40
    (batch,) = ledger.batches()
    assert (batch.state, batch.requests, batch.succeeded, batch.failed, batch.stage) == ("ended", 40, 40, 0, "answers")
    assert batch.provider_id
    whole = sum(PRICES[kind].cost(reply.usage) for reply in replies)
    assert ledger.totals().cost_nanousd == whole // 2 == bill_of(tmp_path / "bill-0.tsv")[1]
    again = await asyncio.gather(*(teacher.complete(r, "answers") for r in asks(40, kind)))
    assert all(reply.reused for reply in again) and len(ledger.batches()) == 1
    assert money(tmp_path).charges == 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "code", "items_again"),
    [
        ("expire", "batch-expired", 10),
        ("item-errors", "batch-item-failed", None),
        ("broken-line", "batch-line-broken", 1),
        ("missing-line", "batch-line-broken", 1),
        ("look-503", "", 0),
    ],
)
async def test_what_a_batch_leaves_out_is_asked_again_one_by_one(
    kind: str, fault: str, code: str, items_again: int | None,
    loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path,
) -> None:  # fmt: skip
    teacher = batched(loopback(batch_script=[fault], batch_s=0.05).url, kind)
    replies = await asyncio.gather(*(teacher.complete(r, "s") for r in asks(20, kind)))
    assert len(replies) == 20 and all(reply.text for reply in replies)
    codes = Counter(row["error_code"] for row in ledger.rows("error_code") if row["error_code"])
    assert set(codes) == ({code} if code else set())
    if items_again is not None:
        assert codes[code] == items_again
    (batch,) = ledger.batches()
    assert batch.state == "ended" and batch.failed == codes.total() and batch.succeeded == 20 - codes.total()
    money(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_submission_whose_reply_was_lost_is_found_and_not_made_twice(
    kind: str, loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    provider = loopback(batch_script=["lost-submit"], batch_s=0.2)
    teacher = batched(provider.url, kind)
    await asyncio.gather(*(teacher.complete(r, "s") for r in asks(10, kind)))
    assert len(list((tmp_path / "bill-0.batches").glob("batch-*.json"))) == 1
    assert money(tmp_path).charges == 10
    assert [batch.state for batch in ledger.batches()] == ["ended"]


async def test_a_submission_that_cannot_be_found_again_is_not_made_twice(
    loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider took it, lost the reply, and does not list it: its price stays at risk, and single calls answer."""

    async def blind(self: OpenAIBatchDesk, *_: object) -> None:
        return None

    monkeypatch.setattr(OpenAIBatchDesk, "find", blind)
    teacher = batched(loopback(batch_script=["lost-submit"], batch_s=0.05).url)
    replies = await asyncio.gather(*(teacher.complete(r, "s") for r in asks(5)))
    await asyncio.sleep(0.5)
    assert len(replies) == 5 and [batch.state for batch in ledger.batches()] == ["lost"]
    assert len(list((tmp_path / "bill-0.batches").glob("batch-*.json"))) == 1
    assert money(tmp_path).charges == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_batch_costs_nothing_and_says_why(
    kind: str, loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = batched(loopback(batch_script=["refuse"]).url, kind)
    results = await asyncio.gather(*(teacher.complete(r, "s") for r in asks(5, kind)), return_exceptions=True)
    assert all(isinstance(result, WireError) or hasattr(result, "code") for result in results)
    totals = ledger.totals()
    assert (totals.failed, totals.cost_nanousd, totals.at_risk_nanousd) == (5, 0, 0)
    assert bill_of(tmp_path / "bill-0.tsv")[0] == 0


async def test_a_full_queue_is_waited_for(
    loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = batched(loopback(batch_script=["queue-full", "queue-full"], batch_s=0.05).url)
    replies = await asyncio.gather(*(teacher.complete(r, "s") for r in asks(6)))
    assert len(replies) == 6
    assert [batch.state for batch in ledger.batches()] == ["refused", "refused", "ended"]
    assert money(tmp_path).charges == 6


@pytest.mark.parametrize("kind", KINDS)
async def test_an_open_batch_is_followed_by_the_next_process(
    kind: str, loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    provider = loopback(batch_s=1.0)
    first = batched(provider.url, kind)
    await submit_and_leave(first, asks(12, kind), ledger)
    reopened = Ledger.open(str(ledger.engine.url), "test")
    assert {row["state"] for row in reopened.rows("state")} == {"intent"}  # the provider still has them
    reopened.close()
    second = batched(provider.url, kind)
    assert second.adopt() == 1
    replies = await asyncio.gather(*(second.complete(r, "s") for r in asks(12, kind)))
    assert len(replies) == 12 and len(ledger.batches()) == 1
    assert money(tmp_path).charges == 12


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_whose_id_was_never_learned_is_found_by_its_label_or_its_items(
    kind: str, loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    provider = loopback(batch_s=0.3)
    first = batched(provider.url, kind)
    await submit_and_leave(first, asks(5, kind), ledger)
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("update batches set provider_id = ''")
    second = batched(provider.url, kind)
    assert second.adopt() == 1
    await asyncio.gather(*(second.complete(r, "s") for r in asks(5, kind)))
    assert money(tmp_path).charges == 5


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_the_provider_does_not_know_stays_at_risk(
    kind: str, loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    old = loopback(batch_s=30)
    first = batched(old.url, kind)
    await submit_and_leave(first, asks(5, kind), ledger)
    second = batched(loopback().url, kind)
    second.adopt()
    replies = await asyncio.gather(*(second.complete(r, "s") for r in asks(5, kind)))
    assert len(replies) == 5
    assert [batch.state for batch in ledger.batches()] == ["lost"]
    assert ledger.totals().unknown == 5 and ledger.totals().at_risk_nanousd > 0


async def test_a_provider_that_works_on_after_a_restart_bills_nothing_twice(
    loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    bill = tmp_path / "bill-0.tsv"
    provider = loopback(batch_s=0.0, bill=bill)
    teacher = batched(provider.url)
    tasks = [asyncio.create_task(teacher.complete(r, "s")) for r in asks(3000)]
    while not bill.exists() or bill.stat().st_size < 20_000:
        await asyncio.sleep(0.005)
    assert provider._child is not None
    provider._child.kill()
    for task in tasks:
        task.cancel()
    await teacher.aclose()
    again = batched(loopback(batch_s=0.0, bill=bill).url)
    again.adopt()
    replies = await asyncio.gather(*(again.complete(r, "s") for r in asks(3000)))
    assert len(replies) == 3000
    assert money(tmp_path).charges == 3000


async def test_a_mistake_of_ours_reaches_who_waits(
    loopback: Start, batched: HireBatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in following a batch must end the run with its error, not leave it waiting for ever."""

    async def broken(self: OpenAIBatchDesk, batch_id: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(OpenAIBatchDesk, "look", broken)
    teacher = batched(loopback().url)
    results = await asyncio.wait_for(
        asyncio.gather(*(teacher.complete(r, "s") for r in asks(3)), return_exceptions=True), timeout=20
    )
    assert all(isinstance(result, ZeroDivisionError) for result in results)


async def test_the_budget_holds_for_batches(
    loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    budget = Budget(0.0008)
    teacher = batched(loopback(batch_s=0.05).url, budget=budget)
    results = await asyncio.gather(*(teacher.complete(r, "s") for r in asks(80)), return_exceptions=True)
    stopped = [result for result in results if isinstance(result, BudgetError)]
    assert stopped and len(stopped) < 80
    assert bill_of(tmp_path / "bill-0.tsv")[1] <= 800_000
    assert budget.in_flight == 0 and budget.spent == ledger.totals().cost_nanousd


async def test_open_batches_and_enqueued_tokens_are_kept_to(
    loopback: Start, batched: HireBatched, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = batched(loopback(batch_s=0.1, enqueued_tokens=900).url, max_requests=10, max_enqueued_tokens=400)
    await asyncio.gather(*(teacher.complete(r, "s") for r in asks(60)))
    batches = ledger.batches()
    assert all(batch.requests <= 10 and batch.enqueued_tokens <= 400 for batch in batches)
    assert {batch.state for batch in batches} == {"ended"}  # never so many at once that the provider refused one
    assert money(tmp_path).charges == 60


def test_shards_keep_every_limit_and_the_order() -> None:
    class Thing:
        def __init__(self, tokens: int) -> None:
            self.tokens = tokens

    things = [Thing(n % 7 + 1) for n in range(200)]
    sizes = [100 * (n % 5 + 1) for n in range(200)]
    section = BatchSection(max_requests=9, max_mb=0.002, max_enqueued_tokens=25)
    shards = shards_within(things, sizes, section)
    size_of = dict(zip(things, sizes, strict=True))
    assert [thing for shard in shards for thing in shard] == things
    for shard in shards:
        assert len(shard) <= 9 and sum(t.tokens for t in shard) <= 25 and sum(size_of[t] for t in shard) <= 2000
    assert len(shards_within(things[:3], [9000, 9000, 10], section)) == 3  # each by itself, for the provider to refuse


# -- prompt caching


async def test_the_first_call_goes_alone_and_the_others_read_its_prefix(
    loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = hire(loopback(latency_s=0.1).url, anthropic=True, model=THINKER, price=PRICES["anthropic"])
    replies = await asyncio.gather(*(teacher.complete(r, "s") for r in asks(20, "anthropic", "5m")))
    written = [reply.usage.cache_written for reply in replies]
    assert sum(count > 0 for count in written) == 1
    assert all(reply.usage.cached == max(written) for reply in replies if not reply.usage.cache_written)
    assert ledger.totals().cost_nanousd == bill_of(tmp_path / "bill-0.tsv")[1]


async def test_a_cache_that_never_hits_is_an_error(loopback: Start, hire: Hire, ledger: Ledger) -> None:
    teacher = hire(loopback(cache_works=False).url, anthropic=True, model=THINKER, in_flight=2)
    results = await asyncio.gather(
        *(teacher.complete(r, "s") for r in asks(30, "anthropic", "1h")), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, WireError)]
    assert errors and {error.code for error in errors} == {"cache-never-hits"}
    assert ledger.totals().received < 30  # it stopped early, and what was bought is kept


async def test_a_prefix_below_the_floor_is_noticed(loopback: Start, hire: Hire) -> None:
    teacher = hire(loopback().url, anthropic=True, model=THINKER, in_flight=1)
    short = [Request(THINKER, "too short", f"q {n}", 50, cache="1h") for n in range(12)]
    results = await asyncio.gather(*(teacher.complete(r, "s") for r in short), return_exceptions=True)
    assert any(isinstance(result, WireError) and result.code == "cache-never-hits" for result in results)


async def test_batch_and_cache_cost_at_most_35_percent_of_plain_calls(
    loopback: Start, batched: HireBatched, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    """For a prefix of 2K tokens and short answers, the share that the prices promise is about 0.1 x 0.5 of it."""
    teacher = batched(loopback(batch_s=0.05).url, "anthropic", max_requests=50)
    replies = await asyncio.gather(*(teacher.complete(r, "s") for r in asks(100, "anthropic", "1h")))
    plain = sum(PRICES["anthropic"].cost(type(r.usage)(r.usage.prompt, r.usage.completion)) for r in replies)
    assert ledger.totals().cost_nanousd == bill_of(tmp_path / "bill-0.tsv")[1]
    assert ledger.totals().cost_nanousd <= 0.35 * plain
    assert sum(reply.usage.cached > 0 for reply in replies) == 99
    assert sum(batch.requests for batch in ledger.batches()) == 99


async def test_the_cache_is_no_part_of_what_a_request_is() -> None:
    plain, kept = asks(1, "anthropic")[0], Request(THINKER, "Be brief.", "question 0", 100, cache="1h")
    assert request_key("p", plain) == request_key("p", kept)


async def test_the_openai_desk_sends_what_the_sdk_documents() -> None:
    desk = OpenAIBatchDesk("http://127.0.0.1:1/v1", "", 1, allow_loopback_http=True)
    item = BatchItem("k", b'{"model":"m"}')
    assert (
        desk.item_bytes(item)
        == len(
            json.dumps(
                {"custom_id": "k", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}},
                separators=(",", ":"),
            )
        )
        + 1
    )
    with pytest.raises(WireError, match="connect-refused"):
        await desk.submit("label", [item])
    await desk.aclose()
