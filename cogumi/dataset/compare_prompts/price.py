"""The price of a comparison before anything is bought: the comparison is replayed with the ledger's replies alone."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Any

from cogumi.dataset.compare_prompts.pairs import ANSWERS, Call, Comparison, compare_pair
from cogumi.dataset.estimate import answer_tokens
from cogumi.dataset.prompts import ShownAnswer, pair_prompt
from cogumi.recipe import Recipe
from cogumi.store.ledger import Ledger
from cogumi.teachers.pricing import Price, price_of
from cogumi.teachers.staff import wire_of
from cogumi.teachers.types import Reply, Request, Usage, request_key

_SCORES_TOKENS = 30
_LOW, _HIGH = 0.7, 1.4


@dataclass(frozen=True, slots=True)
class ComparisonPrice:
    """What is left to buy: calls and dollars by role, as single calls. `reused`: replies that are in the ledger.

    While answers are to be bought, `judgements` is an upper bound: pairs of the same text and unusable answers are not
    judged.
    """

    answers: int
    judgements: int
    reused: int
    answers_usd: float
    judgements_usd: float

    @property
    def cost_usd(self) -> float:
        return self.answers_usd + self.judgements_usd

    @property
    def least_usd(self) -> float:
        """The cost without the judgements that may not be needed."""
        return self.answers_usd if self.answers else self.judgements_usd

    def to_json(self) -> dict[str, Any]:
        """Everything, with the sum and its range."""
        span = [round(self.least_usd * _LOW, 4), round(self.cost_usd * _HIGH, 4)]
        return {**asdict(self), "cost_usd": round(self.cost_usd, 4), "cost_usd_range": span}


async def price_of_comparison(comparison: Comparison, ledger: Ledger | None) -> ComparisonPrice:
    """Calls and dollars that are still to be spent. Raises BudgetError price-unknown."""
    replay = _Replay(comparison.recipe, ledger)
    pairs = await asyncio.gather(*(compare_pair(comparison, q, replay.ask) for q in comparison.questions))
    answers = [call.request for call in replay.missing if call.stage == ANSWERS]
    judged = [call.request for call in replay.missing if call.stage != ANSWERS]
    unanswered = [pair.question.text for pair in pairs if pair.how == "call-failed"]
    tokens = answer_tokens(comparison.stage, comparison.teacher)
    of_answer, of_judge = price_of(comparison.teacher), price_of(comparison.judge)
    judge_nanousd = sum(of_judge.cost(Usage(_size(request), _SCORES_TOKENS)) for request in judged)
    judge_nanousd += 2 * sum(of_judge.cost(Usage(_judge_size(q) + 2 * tokens, _SCORES_TOKENS)) for q in unanswered)
    return ComparisonPrice(
        answers=len(answers),
        judgements=len(judged) + 2 * len(unanswered),
        reused=replay.reused,
        answers_usd=_answers_cost(of_answer, answers, tokens) / 1e9,
        judgements_usd=judge_nanousd / 1e9,
    )


class _Replay:
    """Answers calls from the ledger, and notes those that it has no reply to."""

    def __init__(self, recipe: Recipe, ledger: Ledger | None) -> None:
        self.missing: list[Call] = []
        self.reused = 0
        self._recipe = recipe
        self._ledger = ledger

    async def ask(self, call: Call) -> Reply | None:
        section = self._recipe.teachers[call.teacher]
        key = request_key(section.label, call.request)
        stored = self._ledger.reply(key) if self._ledger is not None else None
        if stored is None:
            self.missing.append(call)
            return None
        self.reused += 1
        return replace(wire_of(section).decode(stored[0], call.request.model), request_key=key, reused=True)


def _answers_cost(price: Price, requests: list[Request], completion: int) -> int:
    """Nano-dollars; of a prompt that is cached the first call pays for writing it, the others for reading it."""
    cost = 0
    for request in requests:
        prefix = len(request.system) // 4 if request.cache != "off" else 0
        cost += price.cost(Usage(_size(request), completion, cached=prefix))
    for system, cache in {(request.system, request.cache) for request in requests if request.cache != "off"}:
        per_token = price.cache_write_1h if cache == "1h" else price.cache_write
        cost += round(len(system) // 4 * (per_token - price.cached))
    return cost


def _size(request: Request) -> int:
    return (len(request.system) + len(request.user)) // 4


def _judge_size(question: str) -> int:
    prompt = pair_prompt(question, (ShownAnswer(""), ShownAnswer("")))
    return (len(prompt.system) + len(prompt.user)) // 4
