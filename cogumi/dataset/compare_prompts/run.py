"""Run a comparison in a run folder of its own, through its ledger: what was bought once is never bought again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cogumi.dataset.compare_prompts.pairs import ANSWERS, JUDGE, Call, Comparison, Pair, PromptAnswer, compare_pair
from cogumi.dataset.compare_prompts.price import ComparisonPrice, price_of_comparison
from cogumi.dataset.compare_prompts.result import answer_figures, outcome_figures, position_figures
from cogumi.dataset.verify import verify_answer
from cogumi.errors import RunError
from cogumi.recipe import Recipe
from cogumi.store.artifacts import new_artifact
from cogumi.store.files import write_atomic, write_json, write_jsonl
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.preflight import preflight, refuse
from cogumi.teachers.staff import Staff, open_staff
from cogumi.teachers.types import Needs, Reply
from cogumi.teachers.wire_errors import WireError

_VERIFIED_AT_ONCE = 4
_SUMMED = ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_nanousd")
Progress = Callable[[int], None]
"""Called with the number of questions that are done."""


async def compare(comparison: Comparison, folder: RunFolder, progress: Progress = lambda done: None) -> dict[str, Any]:
    """Buy what is missing, publish the result under comparisons/IDENTITY in the folder, and return its figures.

    Raises what must stop a run: InputError key-missing, BudgetError, StorageError, fatal wire errors, RunError
    comparison-empty where no pair could be compared.
    """
    recipe = _with_needed_teachers(comparison)
    ledger = Ledger.open(folder.ledger_url, folder.name_in_ledger)
    try:
        price = await price_of_comparison(comparison, ledger)
        findings = await preflight(recipe, _needs(comparison, price)) if recipe.preflight else []
        refuse(findings)
        async with open_staff(recipe, ledger, folder.path) as staff:
            pairs = await _buy(comparison, staff, progress)
        figures = await _figures(comparison, pairs, ledger)
        figures["preflight"] = [finding.to_json() for finding in findings if finding.level != "ok"]
    finally:
        ledger.close()
    if not figures["pairs"]:
        raise RunError("comparison-empty", f"{figures['questions']} questions: {figures['left_out']}")
    _publish(comparison, folder, pairs, figures)
    return figures


def _with_needed_teachers(comparison: Comparison) -> Recipe:
    """The recipe with teacher and judge alone: keys and endpoints of others are not needed."""
    recipe = comparison.recipe
    return recipe.model_copy(update={"teachers": {name: recipe.teachers[name] for name in comparison.called}})


def _needs(comparison: Comparison, price: ComparisonPrice) -> dict[str, Needs]:
    """What the price asks of teacher and judge, which may be one."""
    needs: dict[str, Needs] = {}
    for name, calls, usd in (
        (comparison.section.teacher, price.answers, price.answers_usd),
        (comparison.recipe.dataset.judge.teacher, price.judgements, price.judgements_usd),
    ):
        held = needs.get(name, Needs())
        needs[name] = Needs(held.calls + calls, held.cost_usd + usd)
    return needs


async def _buy(comparison: Comparison, staff: Staff, progress: Progress) -> list[Pair]:
    """All pairs, in the order of the questions."""
    slots = {
        ANSWERS: asyncio.Semaphore(comparison.section.workers),
        JUDGE: asyncio.Semaphore(comparison.recipe.dataset.judge.workers),
    }
    done = 0

    async def ask(call: Call) -> Reply | None:
        async with slots[call.stage]:
            try:
                return await staff.teachers[call.teacher].complete(call.request, call.stage)
            except WireError as error:
                if error.entry.fatal:
                    raise
                return None

    async def one(number: int) -> Pair:
        nonlocal done
        pair = await compare_pair(comparison, comparison.questions[number], ask)
        done += 1
        progress(done)
        return pair

    return await asyncio.gather(*(one(number) for number in range(len(comparison.questions))))


async def _figures(comparison: Comparison, pairs: list[Pair], ledger: Ledger) -> dict[str, Any]:
    attempts: dict[str, Counter[str]] = {}
    for row in ledger.rows("request_key", *_SUMMED):
        attempts.setdefault(row["request_key"], Counter()).update({name: row[name] for name in _SUMMED})
    prompts = {}
    for side, candidate in (("a", comparison.a), ("b", comparison.b)):
        answers = [pair.a if side == "a" else pair.b for pair in pairs]
        verdicts = await _verified(pairs, answers)
        prompts[side] = {"prompt": candidate.name, **answer_figures(answers, verdicts, attempts)}
    totals = ledger.totals()
    return {
        "comparison": comparison.identity,
        "stage": comparison.stage,
        "teacher": comparison.teacher.model,
        "judge": comparison.judge.model,
        **outcome_figures(pairs),
        "position": position_figures(pairs),
        "prompts": prompts,
        "cost_usd": totals.cost_nanousd / 1e9,
        "at_risk_usd": totals.at_risk_nanousd / 1e9,
        "rehearsal": comparison.recipe.rehearsal,
    }


async def _verified(pairs: list[Pair], answers: list[PromptAnswer]) -> list[str]:
    """What a verifier says of each answer that could be used."""
    slots = asyncio.Semaphore(_VERIFIED_AT_ONCE)

    async def one(pair: Pair, answer: PromptAnswer) -> str:
        async with slots:
            return await verify_answer(pair.question.text, answer.shown.result, pair.question.topic)

    usable = [(pair, answer) for pair, answer in zip(pairs, answers, strict=True) if not answer.reason]
    return await asyncio.gather(*(one(pair, answer) for pair, answer in usable))


def _publish(comparison: Comparison, folder: RunFolder, pairs: list[Pair], figures: dict[str, Any]) -> None:
    place = folder.path / "comparisons" / comparison.identity
    section = comparison.section.model_dump(mode="json")
    with new_artifact(place, "compare_prompts", comparison.identity, section, comparison.recipe.seed) as draft:
        write_json(draft.path / "comparison.json", figures)
        write_jsonl(draft.path / "pairs.jsonl", (_row(pair) for pair in pairs))
        for side, candidate in (("a", comparison.a), ("b", comparison.b)):
            write_atomic(draft.path / f"{side}.md", f"{candidate.system}\n".encode())
        draft.metrics |= {**figures, "rows": len(pairs)}


def _row(pair: Pair) -> dict[str, Any]:
    answers = {
        side: {"answer": answer.shown.result, "reason": answer.reason, "request_keys": list(answer.request_keys)}
        for side, answer in (("a", pair.a), ("b", pair.b))
    }
    return {
        "question": pair.question.text,
        "cell": str(pair.question.cell),
        **answers,
        "scores": [asdict(scores) for scores in pair.scores],
        "outcome": pair.outcome,
        "how": pair.how,
    }
