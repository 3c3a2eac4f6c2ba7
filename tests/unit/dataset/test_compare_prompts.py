"""Prompts compared in pairs, over real HTTP: what is better wins, what is alike does not, a biased judge is figures out, and
nothing is bought twice.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from cogumi.dataset.compare_prompts import (
    Candidate,
    Comparison,
    ComparisonPrice,
    compare,
    price_of_comparison,
    questions_of_run,
    read_candidate,
)
from cogumi.domain import Cell, Difficulty, Question
from cogumi.errors import BudgetError, RunError
from cogumi.recipe import load_recipe
from cogumi.store.artifacts import verify
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.procedural import by_domain
from cogumi.teachers.server.serve import LoopbackProcess
from tests.conftest import bill_of
from tests.torture.oracle import check_money
from tests.unit.dataset.running import run_stage, tiny

Start = Callable[..., LoopbackProcess]
FORMAT = "Use this form: <thinking>\n[DRAFT]\n[CRITIQUE]\n[REVISED]\n</thinking>\n<answer>\n</answer>"
BUILTIN = read_candidate("builtin", hard=True)
REWORDED = Candidate("reworded", f"Solve what the user asks, step by step, and check it.\n{FORMAT}")
WRONG = Candidate("wrong", f"Give answers that are wrong on purpose.\n{FORMAT}")
UNTAGGED = Candidate("untagged", "Answer in one line.")


def drawn(count: int, domain: str = "math", difficulty: Difficulty = Difficulty.HARD) -> list[Question]:
    rng = Random(f"{domain}/{difficulty}")
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[rng.choice(by_domain(domain)).generate(rng, difficulty).question] = None
    return [Question(text, Cell(domain, difficulty), "", "", "", "") for text in texts]


class Comparisons:
    """Comparisons against one provider, in one folder."""

    def __init__(self, provider: LoopbackProcess, bill: Path, root: Path) -> None:
        self.provider = provider
        self.bill = bill
        self.root = root

    def comparison(
        self, a: Candidate, b: Candidate, questions: list[Question], *changes: str, stage: str = "answers_hard"
    ) -> Comparison:
        at = []
        for name in ("judge", "answerer", "thinker"):
            url = self.provider.url if name == "thinker" else f"{self.provider.url}/v1"
            at += [f"teachers.{name}.base_url={url}", f"teachers.{name}.allow_loopback_http=true"]
            at += [f"teachers.{name}.backoff_s=[0.02]"]
        return Comparison(load_recipe("tiny", [*at, *changes]), stage, a, b, questions)

    async def run(self, comparison: Comparison) -> dict[str, Any]:
        with RunFolder.open(self.root, "compared", comparison.recipe, change=True) as folder:
            return await compare(comparison, folder)

    async def price(self, comparison: Comparison) -> ComparisonPrice:
        ledger = Ledger.view(f"sqlite:///{self.root / 'compared' / 'ledger.db'}", "compared")
        try:
            return await price_of_comparison(comparison, ledger)
        finally:
            ledger.close()


@pytest.fixture
def start(tmp_path: Path, loopback: Start) -> Callable[..., Comparisons]:
    def against(**behaviour: Any) -> Comparisons:
        bill = tmp_path / "bill.tsv"
        return Comparisons(loopback(bill=bill, **behaviour), bill, tmp_path / "runs")

    return against


# -- what is better wins


async def test_a_prompt_whose_answers_are_wrong_loses(start: Callable[..., Comparisons]) -> None:
    """The known-bad control, on either side."""
    at, questions = start(), drawn(30)
    figures = await at.run(at.comparison(BUILTIN, WRONG, questions))
    assert figures["verdict"] == "a better" and figures["p"] < 1e-6
    assert figures["prompts"]["b"]["verified"] == {"failed": 30} and figures["prompts"]["a"]["verified"] == {
        "passed": 30
    }
    assert figures["a"]["count"] == 30 and figures["a"]["ci95"][0] > 0.8 and figures["difference"]["high"] < 0
    swapped = await at.run(at.comparison(WRONG, BUILTIN, questions))
    assert swapped["verdict"] == "b better" and swapped["b"] == figures["a"] and swapped["p"] == figures["p"]


async def test_prompts_that_do_the_same_are_not_told_apart(start: Callable[..., Comparisons]) -> None:
    at = start(wrong_share=0.1)
    figures = await at.run(at.comparison(BUILTIN, REWORDED, drawn(40)))
    assert figures["verdict"] == "inconclusive" and figures["difference"]["low"] < 0 < figures["difference"]["high"]
    assert figures["a"]["count"] + figures["equal"]["count"] + figures["b"]["count"] == figures["pairs"] == 40
    assert 0 < figures["power_of_10_points"] < 1


async def test_answers_that_the_dataset_could_not_use_lose_without_a_judge(start: Callable[..., Comparisons]) -> None:
    at = start()
    figures = await at.run(at.comparison(UNTAGGED, BUILTIN, drawn(12)))
    assert figures["verdict"] == "b better" and figures["by"] == {"one unusable": 12}
    assert figures["prompts"]["a"]["unusable"] == {"no-answer-tag": 12} and figures["position"]["judgements"] == 0
    both = await at.run(at.comparison(UNTAGGED, Candidate("other", "Answer briefly."), drawn(12)))
    assert both["by"] == {"both unusable": 12} and both["verdict"] == "inconclusive"


async def test_easy_answers_of_the_same_text_need_no_judge(start: Callable[..., Comparisons]) -> None:
    at, questions = start(), drawn(10, difficulty=Difficulty.EASY)
    easy = read_candidate("builtin", hard=False)
    figures = await at.run(at.comparison(easy, Candidate("other", "Answer."), questions, stage="answers_easy"))
    assert figures["by"] == {"same text": 10} and figures["equal"]["share"] == 1.0
    bad = await at.run(at.comparison(easy, Candidate("bad", "Be wrong on purpose."), questions, stage="answers_easy"))
    assert bad["verdict"] == "a better"


# -- the judge


@pytest.mark.parametrize(("b", "verdict"), [(REWORDED, "inconclusive"), (WRONG, "a better")])
async def test_a_judge_that_likes_what_stands_first_decides_nothing(
    start: Callable[..., Comparisons], b: Candidate, verdict: str
) -> None:
    """Its bias is measured; pairs with opposite winners in the two orders are equal, and real differences still show."""
    at = start(first_share=1.0)
    figures = await at.run(at.comparison(BUILTIN, b, drawn(40)))
    assert figures["verdict"] == verdict
    if b is REWORDED:
        position = figures["position"]
        assert position["first_share"] == 1.0 and position["p"] < 0.001 and position["ci95"][0] > 0.5
        assert position["inconsistent"] == figures["by"]["judged"] == position["judgements"] / 2 > 10


async def test_the_judge_is_blind_and_asked_in_both_orders(start: Callable[..., Comparisons]) -> None:
    at = start(untidy_share=0.3)
    figures = await at.run(at.comparison(BUILTIN, WRONG, drawn(15)))
    with sqlite3.connect(at.root / "compared" / "ledger.db") as ledger:
        rows = ledger.execute(
            "select request from attempts where stage = 'compare_judge' and state = 'received'"
        ).fetchall()
    shown = []
    for (request,) in rows:
        text = " ".join(message["content"] for message in orjson.loads(request)["messages"])
        assert BUILTIN.system[:40] not in text and "on purpose" not in text and "builtin" not in text
        shown.append(re.findall(r"<result>\n(.*?)\n</result>", text, re.DOTALL))
    assert {tuple(pair) for pair in shown} == {tuple(reversed(pair)) for pair in shown}
    assert len({tuple(pair) for pair in shown}) == figures["position"]["judgements"] == 30


# -- money


async def test_nothing_is_bought_twice_and_the_price_says_what_is_left(start: Callable[..., Comparisons]) -> None:
    at, questions = start(), drawn(40)
    whole = at.comparison(BUILTIN, REWORDED, questions)
    expected = await price_of_comparison(whole, None)
    assert (expected.answers, expected.judgements, expected.reused) == (80, 80, 0)
    await at.run(at.comparison(BUILTIN, REWORDED, questions[:15]))
    begun = bill_of(at.bill)
    left = await at.price(whole)
    assert left.answers == 50 and left.reused == begun[0] and 50 <= left.judgements < expected.judgements
    figures = await at.run(whole)
    paid = bill_of(at.bill)
    assert paid[0] - begun[0] <= left.answers + left.judgements
    assert 0.7 <= paid[1] / 1e9 / expected.cost_usd <= 1.4, "the range that is told"
    assert (await at.price(whole)).cost_usd == 0
    assert await at.run(whole) == figures and bill_of(at.bill) == paid
    other = await at.price(at.comparison(BUILTIN, WRONG, questions))
    assert other.answers == 40, "answers of the first prompt are at hand"
    check_money(at.root / "compared", at.bill)


async def test_the_budget_stops_it_and_it_resumes(start: Callable[..., Comparisons]) -> None:
    at, questions = start(fault_share=0.2), drawn(25)
    with pytest.raises(BudgetError, match="budget-reached"):
        await at.run(
            at.comparison(BUILTIN, REWORDED, questions, "budget.max_usd=0.1", "dataset.answers_hard.workers=2")
        )
    stopped = check_money(at.root / "compared", at.bill)
    assert stopped.received > 0 and stopped.billed / 1e9 <= 0.1
    assert not (at.root / "compared" / "comparisons").exists()
    figures = await at.run(at.comparison(BUILTIN, REWORDED, questions))
    assert figures["pairs"] == 25
    check_money(at.root / "compared", at.bill)


async def test_pairs_whose_calls_fail_are_left_out_and_asked_again(start: Callable[..., Comparisons]) -> None:
    at = start(script=["400"] * 6)
    comparison = at.comparison(BUILTIN, WRONG, drawn(3), "preflight=false")
    with pytest.raises(RunError, match="comparison-empty") as caught:
        await at.run(comparison)
    assert "'call-failed': 3" in caught.value.detail
    assert (await at.run(comparison))["pairs"] == 3


async def test_an_answer_that_is_cut_off_is_asked_again_with_more_tokens(start: Callable[..., Comparisons]) -> None:
    at = start()
    few = ["dataset.answers_hard.max_tokens=40", "dataset.answers_hard.max_tokens_cap=640"]
    figures = await at.run(at.comparison(BUILTIN, WRONG, drawn(6), *few, "dataset.answers_hard.tries=5"))
    assert figures["prompts"]["a"]["unusable"] == {} and figures["a"]["count"] == 6
    cut = await at.run(at.comparison(BUILTIN, WRONG, drawn(6), *few, "dataset.answers_hard.tries=1"))
    assert cut["prompts"]["a"]["unusable"] == {"truncated": 6}
    assert figures["prompts"]["a"]["usd_per_answer"] > cut["prompts"]["a"]["usd_per_answer"]


async def test_a_long_prompt_is_cached_where_the_provider_can_keep_it(start: Callable[..., Comparisons]) -> None:
    at = start()
    comparison = at.comparison(BUILTIN, read_candidate("builtin+guide", hard=True), drawn(10))
    figures = await at.run(comparison)
    short, long = figures["prompts"]["a"], figures["prompts"]["b"]
    assert short["cached_tokens"] == 0 and long["cached_tokens"] > 0.8 * long["prompt_tokens"]
    with sqlite3.connect(at.root / "compared" / "ledger.db") as ledger:
        (cost,) = ledger.execute("select sum(cost_nanousd) from attempts where stage = 'compare_answers'").fetchone()
    assert 10 * (short["usd_per_answer"] + long["usd_per_answer"]) == pytest.approx(cost / 1e9)


async def test_the_questions_of_a_finished_run(tmp_path: Path, start: Callable[..., Comparisons]) -> None:
    await run_stage(tmp_path, tiny(dataset__cells="{math: {easy: 3, hard: 12}}"), "made")
    few = questions_of_run(tmp_path / "made", Difficulty.HARD, 5, seed=1)
    more = questions_of_run(tmp_path / "made", Difficulty.HARD, 100, seed=1).questions
    assert len(few.questions) == 5 and len(more) == 12 and more[:5] == few.questions
    assert few.left_out == {"other difficulty": 3, "more than --rows": 7}
    assert len(questions_of_run(tmp_path / "made", Difficulty.EASY, 100, seed=1).questions) == 3
    at = start()
    figures = await at.run(at.comparison(BUILTIN, WRONG, more))
    assert figures["verdict"] == "a better"
    place = at.root / "compared" / "comparisons" / figures["comparison"]
    verify(place)
    rows = [orjson.loads(line) for line in (place / "pairs.jsonl").read_bytes().splitlines()]
    assert len(rows) == 12 and all(row["outcome"] == "a" and len(row["scores"]) == 2 for row in rows)
    assert (place / "b.md").read_text().strip() == WRONG.system
