"""The contract with money: nothing bought twice, nothing lost, the budget holds, retries are counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import anthropic
import openai
import pytest

from cogumi.errors import BudgetError, RunError
from cogumi.recipe import load_recipe
from cogumi.store.ledger import Ledger
from cogumi.teachers.budget import Budget
from cogumi.teachers.openai_compatible import OpenAIWire
from cogumi.teachers.procedural.local import LocalTransport
from cogumi.teachers.procedural.mind import Mind
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.teachers.staff import shared_limiters
from cogumi.teachers.teacher import LedgeredTeacher
from cogumi.teachers.types import Reply, Request, request_key
from cogumi.teachers.wire_errors import WireError
from tests.conftest import MODEL, bill_of

Start = Callable[..., LoopbackProcess]
Hire = Callable[..., LedgeredTeacher]


def request(text: str, replica: int = 0, most: int = 100) -> Request:
    return Request(MODEL, "Be brief.", text, most, None, replica)


async def test_a_reply_is_bought_once_and_read_from_the_ledger_afterwards(
    loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = hire(loopback().url)
    first = await teacher.complete(request("hello there"), "s")
    again = await hire("http://127.0.0.1:1").complete(request("hello there"), "s")
    assert (again.text, again.usage, again.received_at) == (first.text, first.usage, first.received_at)
    assert again.reused and not first.reused
    assert bill_of(tmp_path / "bill-0.tsv")[0] == 1
    assert ledger.totals().cost_nanousd == bill_of(tmp_path / "bill-0.tsv")[1]


async def test_askers_of_the_same_thing_at_once_share_one_call(loopback: Start, hire: Hire, tmp_path: Path) -> None:
    teacher = hire(loopback(latency_s=0.1).url)
    replies = await asyncio.gather(*(teacher.complete(request("same"), "s") for _ in range(20)))
    assert len({reply.text for reply in replies}) == 1
    assert bill_of(tmp_path / "bill-0.tsv")[0] == 1


async def test_what_was_sent_is_read_though_its_asker_has_gone_and_what_was_not_is_not_sent(
    loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = hire(loopback(latency_s=0.5).url, in_flight=3)
    asking = [asyncio.ensure_future(teacher.complete(request(f"question {n}"), "s")) for n in range(6)]
    while teacher.tally.open < 3:
        await asyncio.sleep(0.01)
    for asker in asking:
        asker.cancel()
    assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*asking, return_exceptions=True))
    await teacher.aclose()
    charges, cost = bill_of(tmp_path / "bill-0.tsv")
    totals = ledger.totals()
    assert charges == totals.received == 3 and totals.unknown == 0
    assert cost == totals.cost_nanousd and totals.at_risk_nanousd == 0


async def test_once_it_is_closing_nothing_more_is_sent_though_its_askers_were_not_told(
    loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    """A gather that fails leaves its other calls running."""
    teacher = hire(loopback(latency_s=0.5).url, in_flight=2)
    asking = [asyncio.ensure_future(teacher.complete(request(f"question {n}"), "s")) for n in range(6)]
    while teacher.tally.open < 2:
        await asyncio.sleep(0.01)
    await teacher.aclose()
    replies = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(reply, Reply) for reply in replies] == [True] * 2 + [False] * 4
    assert bill_of(tmp_path / "bill-0.tsv")[0] == ledger.totals().received == 2


async def test_a_replica_is_another_request(loopback: Start, hire: Hire, tmp_path: Path) -> None:
    teacher = hire(loopback().url)
    await teacher.complete(request("same", 0), "s")
    await teacher.complete(request("same", 1), "s")
    assert bill_of(tmp_path / "bill-0.tsv")[0] == 2
    assert (
        request_key("p", request("same", 0))
        != request_key("p", request("same", 1))
        != request_key("q", request("same", 1))
    )


async def test_the_intent_is_durable_before_the_send(loopback: Start, hire: Hire, ledger: Ledger) -> None:
    teacher = hire(loopback(latency_s=10.0).url)
    call = asyncio.create_task(teacher.complete(request("slow one"), "s"))
    while not teacher.tally.open:
        await asyncio.sleep(0.01)
    other = Ledger.view(str(ledger.engine.url), "test")
    states = [row["state"] for row in other.rows("state")]
    other.close()
    assert not call.done()
    call.cancel()
    assert states == ["intent"]


async def test_retries_are_rows_of_their_own_and_the_policy_counts_them(
    loopback: Start, hire: Hire, ledger: Ledger
) -> None:
    teacher = hire(loopback(script=["500", "reset-before"]).url, retry=RetryPolicy(3, (0.01,)))
    await teacher.complete(request("third time lucky"), "s")
    rows = [(row["attempt"], row["state"], row["error_code"]) for row in ledger.rows("attempt", "state", "error_code")]
    assert rows == [(1, "unknown", "server-error"), (2, "unknown", "reset-before-reply"), (3, "received", "")]


async def test_failures_are_told_by_code_with_what_was_waited(loopback: Start, hire: Hire, ledger: Ledger) -> None:
    teacher = hire(loopback(script=["500", "429-wait", "503", "503"]).url, retry=RetryPolicy(3, (0.01,)))
    with pytest.raises(WireError, match="unavailable"):  # a 429 is no attempt: the third failure ends it
        await teacher.complete(request("first"), "s")
    rows = {row["code"]: row for row in ledger.failures()}
    assert {code: row["count"] for code, row in rows.items()} == {
        "server-error": 1,
        "rate-limited-wait": 1,
        "unavailable": 2,
    }
    assert rows["rate-limited-wait"]["waited_s"] == pytest.approx(1.0, abs=0.05)
    assert 0 < rows["server-error"]["waited_s"] < 0.05
    assert {row["provider"] for row in rows.values()} == {"loopback"}


async def test_a_reader_that_raises_on_a_paid_envelope_costs_nothing_to_mend(
    loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    """C1 holds for our own mistakes too: the bytes are durable before anything reads them."""

    class BrokenWire(OpenAIWire):
        def decode(self, body: bytes, asked_model: str) -> Reply:
            raise ZeroDivisionError

    provider = loopback()
    budget = Budget(1.0)
    with pytest.raises(ZeroDivisionError):
        await hire(provider.url, wire=BrokenWire(), budget=budget).complete(request("once"), "s")
    (row,) = ledger.rows("state", "error_code", "reply", "cost_nanousd", "at_risk_nanousd")
    assert (row["state"], row["error_code"]) == ("received", "reply-unread") and row["reply"]
    billed = bill_of(tmp_path / "bill-0.tsv")
    assert row["cost_nanousd"] <= billed[1] <= row["cost_nanousd"] + row["at_risk_nanousd"]
    assert budget.at_risk == row["at_risk_nanousd"] and budget.in_flight == 0
    mended = await hire(provider.url).complete(request("once"), "s")
    assert mended.reused and mended.text
    assert bill_of(tmp_path / "bill-0.tsv") == billed


async def test_teachers_that_are_one_model_share_its_limits(tmp_path: Path, ledger: Ledger) -> None:
    recipe = load_recipe(
        "tiny", ["teachers.judge.model=loopback/questioner", "teachers.judge.rpm=30", "teachers.questioner.rpm=60"]
    )
    limiters = shared_limiters(recipe)
    assert limiters["judge"] is limiters["questioner"] and limiters["judge"].rpm == 30
    assert limiters["answerer"] is not limiters["judge"] and limiters["answerer"].rpm is None


async def test_attempts_end_with_the_policy(loopback: Start, hire: Hire, ledger: Ledger) -> None:
    teacher = hire(loopback(script=["503"] * 9).url, retry=RetryPolicy(3, (0.01,)))
    with pytest.raises(WireError, match="unavailable"):
        await teacher.complete(request("never"), "s")
    assert ledger.totals().failed == 3


@pytest.mark.alone
async def test_retry_after_is_obeyed_within_a_tenth(loopback: Start, hire: Hire) -> None:
    teacher = hire(loopback(script=["429-wait"]).url)
    began = time.monotonic()
    await teacher.complete(request("patience"), "s")
    assert 0.99 <= time.monotonic() - began <= 1.35


async def test_the_budget_stops_before_it_is_passed_with_in_flight_calls_counted(
    loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    budget = Budget(0.0008)
    teacher = hire(loopback(latency_s=0.05).url, budget=budget)
    results = await asyncio.gather(
        *(teacher.complete(request(f"question {n}"), "s") for n in range(60)), return_exceptions=True
    )
    stopped = [r for r in results if isinstance(r, BudgetError)]
    assert stopped and len(stopped) < 60 and all(error.code == "budget-reached" for error in stopped)
    assert bill_of(tmp_path / "bill-0.tsv")[1] <= 800_000
    assert budget.in_flight == 0
    assert budget.spent == ledger.totals().cost_nanousd


async def test_the_worst_case_covers_whatever_comes(loopback: Start, hire: Hire, ledger: Ledger) -> None:
    teacher = hire(loopback().url)
    rng = Random(5)
    for number in range(40):
        text = "".join(chr(rng.choice((65, 233, 8364, 128512))) for _ in range(rng.randrange(1, 400)))
        await teacher.complete(request(f"{number} {text}", most=rng.randrange(16, 300)), "s")
    intents = [row for row in ledger.rows("cost_nanousd", "request")]
    worst = [len(row["request"]) * 150 + 300 * 600 for row in intents]
    assert all(row["cost_nanousd"] <= most for row, most in zip(intents, worst, strict=True))


async def test_many_failures_in_a_row_stop_the_run(loopback: Start, hire: Hire) -> None:
    provider = loopback(script=["400"] * 100)
    teacher = hire(provider.url)
    codes = []
    for number in range(40):
        with pytest.raises((WireError, RunError)) as caught:
            await teacher.complete(request(str(number)), "s")
        codes.append(caught.value.code)
    assert codes[0] == "bad-request" and codes[-1] == "too-many-failures"
    assert len(provider.look("/arrivals")["arrivals"]) == 25


async def test_lost_replies_are_at_risk_and_a_thousand_faulty_calls_keep_the_bill_in_bounds(
    loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = hire(loopback(fault_share=0.2, seed=3).url, retry=RetryPolicy(6, (0.001,)), timeout_s=5)
    results = await asyncio.gather(
        *(teacher.complete(request(f"number {n}"), "s") for n in range(1000)), return_exceptions=True
    )
    failures = [r for r in results if isinstance(r, BaseException)]
    totals = ledger.totals()
    _, billed = bill_of(tmp_path / "bill-0.tsv")
    assert all(isinstance(failure, WireError) for failure in failures)
    assert totals.received == 1000 - len(failures) >= 990
    assert totals.cost_nanousd <= billed <= totals.cost_nanousd + totals.at_risk_nanousd
    assert totals.at_risk_nanousd > 0


async def test_the_embedded_teacher_speaks_the_same_wire_without_one(hire: Hire) -> None:
    teacher = hire("http://127.0.0.1:1", transport=LocalTransport(Mind()))
    reply = await teacher.complete(request("Solve for x: 3x + 2 = 14"), "s")
    assert reply.text == "4"


def test_the_openai_sdk_understands_the_provider(loopback: Start) -> None:
    client = openai.OpenAI(base_url=f"{loopback(key='k').url}/v1", api_key="k", max_retries=0)
    reply = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Solve for x: 3x + 2 = 14"}]
    )
    assert reply.choices[0].message.content == "4" and reply.choices[0].finish_reason == "stop"
    assert (
        reply.usage is not None
        and reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    )
    assert MODEL in [model.id for model in client.models.list()]
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list() and client.with_options(
            api_key="wrong"
        ).chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}])


def test_the_anthropic_sdk_understands_the_provider(loopback: Start) -> None:
    client = anthropic.Anthropic(base_url=loopback(key="k").url, api_key="k", max_retries=0)
    reply = client.messages.create(
        model="loopback/thinker", max_tokens=300, messages=[{"role": "user", "content": "Solve for x: 3x + 2 = 14"}]
    )
    assert reply.content[0].type == "text" and reply.content[0].text == "4" and reply.stop_reason == "end_turn"
    assert reply.usage.input_tokens > 0


async def test_both_wires_ask_what_the_sdks_ask(loopback: Start, hire: Hire) -> None:
    """Parity: the same question by SDK and by our wire gets the same text and token counts."""
    provider = loopback()
    question = "A bag holds 3 red and 5 blue marbles. What is the probability of drawing a red one, as a fraction in lowest terms?"
    theirs = openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0).chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
        max_tokens=100,
    )
    ours = await hire(provider.url).complete(request(question), "s")
    assert ours.text == theirs.choices[0].message.content == "3/8"
    assert theirs.usage is not None and (ours.usage.prompt, ours.usage.completion) == (
        theirs.usage.prompt_tokens,
        theirs.usage.completion_tokens,
    )
