"""Grow a shard: ask for questions, refuse duplicates, judge, and go round again until exactly enough have passed.

Each round depends only on the rounds before it. A finished round is sealed in the ledger with which of its calls
succeeded, so a resumed run walks the same way through the same replies and buys only what is missing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import ceil
from random import Random

from cogumi.dataset.context import DatasetRun
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.judge import AskJudge, Verdicts, judge_group, judge_groups
from cogumi.dataset.marks import SeenMarks
from cogumi.dataset.parse import parse_questions
from cogumi.dataset.prompts import Prompt, question_prompt, topic_and_angle
from cogumi.dataset.shards import Grown, Shard
from cogumi.domain import Judgement, Question, Rejected, utc
from cogumi.errors import RunError
from cogumi.recipe import content_hash
from cogumi.teachers.types import Reply, Request, request_key

_FIRST_PASS_RATE = 0.9
_LEAST_PASS_RATE = 0.05
_AVOID_DUPLICATES = 6
_AVOID_SAME_TOPIC = 4
_MOST_EMPTY_ROUNDS = 5
_JUDGE_PASSES = 3


@dataclass(slots=True)
class _Sealing:
    """Which calls of a round succeeded: learned as they end, or recalled from an earlier run of the same round."""

    recalled: dict[str, bool] | None
    seen: dict[str, bool] = field(default_factory=dict)

    def skips(self, key: str) -> bool:
        return self.recalled is not None and not self.recalled.get(key, False)


async def grow_shard(
    run: DatasetRun,
    shard: Shard,
    start: Grown | None = None,
    forbidden: frozenset[str] = frozenset(),
    more: int = 0,
) -> Grown:
    """Questions that passed: at least the shard's rows and `more`, in a fixed order.

    Args:
        start: what the shard has already, where some of it must be replaced; it is changed and returned.
        forbidden: fingerprints that count as duplicates, such as those of all shards.
        more: questions beyond the shard's rows, as many as were lost to duplicates elsewhere or to bad answers.

    Returns what there is after `max_rounds`, which may be fewer; the caller decides what that means.
    """
    target = shard.rows + more
    grown = start or Grown(shard)
    seen = SeenMarks(
        forbidden, map(fingerprint, [*(q.text for q in grown.accepted), *(r.text for r in grown.rejected)])
    )
    refused: list[str] = []
    empty = 0
    while len(grown.accepted) < target and grown.rounds < run.recipe.dataset.max_rounds:
        empty = 0 if await _round(run, grown, seen, refused, target) else empty + 1
        if empty >= _MOST_EMPTY_ROUNDS:
            raise RunError("too-many-failures", f"{shard.name}: no question call succeeded in {empty} rounds")
    return grown


async def _round(run: DatasetRun, grown: Grown, seen: SeenMarks, refused: list[str], target: int) -> bool:
    """One round. False where every question call failed: such a round is neither counted nor sealed, since nothing
    depends on it, and an outage must not use up the rounds of a run.
    """
    shard = grown.shard
    memo = f"round/{shard.name}/{grown.rounds}/{content_hash([run.questions_hash(), target, seen.in_order()])}"
    sealing = _Sealing(run.staff.ledger.recall(memo))
    prompts = _plan_calls(run, grown, refused, target)
    replies = await asyncio.gather(*(_ask_questions(run, shard, prompt, sealing) for prompt in prompts))
    if sealing.recalled is None and not any(replies):
        return False
    fresh = _take_fresh(grown, replies, seen, refused)
    verdicts = await _judge(run, shard, fresh, sealing)
    _decide(run, grown, verdicts)
    grown.rounds += 1
    if sealing.recalled is None:
        await run.staff.ledger.remember(memo, sealing.seen)
    run.log.info("%s round %d: %d of %d accepted", shard.name, grown.rounds, len(grown.accepted), target)
    return True


def _plan_calls(run: DatasetRun, grown: Grown, refused: list[str], target: int) -> list[Prompt]:
    """Prompts for as many questions as should let the rest pass, by the pass rate so far."""
    section, shard = run.recipe.dataset.questions, grown.shard
    rate = max(_LEAST_PASS_RATE, len(grown.accepted) / grown.asked) if grown.asked else _FIRST_PASS_RATE
    needed = ceil((target - len(grown.accepted)) / rate)
    calls = ceil(needed / section.per_call)
    each = ceil(needed / calls)
    rng = Random(f"{run.recipe.seed}/{shard.name}/{grown.rounds}/{len(grown.accepted)}")
    first = grown.rounds * 1009 + shard.index * 211
    prompts = []
    for call in range(calls):
        topic, angle = topic_and_angle(shard.cell, run.recipe.seed, first + call)
        avoid = refused[-_AVOID_DUPLICATES:] + [q.text for q in grown.accepted if q.topic == topic][-_AVOID_SAME_TOPIC:]
        prompts.append(question_prompt(shard.cell, each, topic, angle, rng.randrange(10**9), avoid))
    return prompts


async def _ask_questions(run: DatasetRun, shard: Shard, prompt: Prompt, sealing: _Sealing) -> Reply | None:
    section = run.recipe.dataset.questions
    teacher = section.teacher_by_domain.get(shard.cell.domain, section.teacher)
    return await _ask(run, sealing, "questions", teacher, prompt, section.max_tokens, section.temperature, 0)


async def _judge(run: DatasetRun, shard: Shard, fresh: list[Question], sealing: _Sealing) -> list[Verdicts]:
    section = run.recipe.dataset.judge

    async def ask(system: str, user: str, replica: int) -> Reply | None:
        prompt = Prompt(system, user)
        return await _ask(
            run, sealing, "judge", section.teacher, prompt, section.max_tokens, section.temperature, replica
        )

    return await judge_all(run, shard, fresh, ask)


async def judge_given(run: DatasetRun, shard: Shard, given: tuple[Question, ...]) -> Grown:
    """Judge existing questions; those that a failed or broken reply left unjudged go into other calls."""
    section = run.recipe.dataset.judge
    grown = Grown(shard, rounds=1)

    async def ask(system: str, user: str, replica: int) -> Reply | None:
        return await run.ask(
            "judge",
            section.teacher,
            system,
            user,
            max_tokens=section.max_tokens,
            temperature=section.temperature,
            replica=replica,
        )

    left = list(given)
    for _ in range(_JUDGE_PASSES):
        verdicts = await judge_all(run, shard, left, ask)
        left = [question for verdict in verdicts for question in verdict.unjudged]
        for verdict in verdicts:
            verdict.unjudged = []
        decide_all(grown, verdicts, section.pass_mean)
        if not left:
            break
    grown.rejected += [Rejected("judge/no-scores", question.request_key, question.text) for question in left]
    place = {question.text: number for number, question in enumerate(given)}
    grown.accepted.sort(key=lambda question: place[question.text])
    run.progress.add("questions", len(given))
    return grown


async def judge_all(run: DatasetRun, shard: Shard, questions: list[Question], ask: AskJudge) -> list[Verdicts]:
    """Judge questions in calls of the recipe's size, at once as far as there are workers."""
    section = run.recipe.dataset.judge
    groups = judge_groups(questions, section)
    return await asyncio.gather(*(judge_group(group, shard.cell, section, run.recipe.seed, ask) for group in groups))


async def _ask(
    run: DatasetRun,
    sealing: _Sealing,
    stage: str,
    teacher: str,
    prompt: Prompt,
    most: int,
    temperature: float | None,
    replica: int,
) -> Reply | None:
    """One call of a round; in a sealed round a call that failed then stays failed now."""
    hired = run.staff.teachers[teacher]
    key = request_key(hired.provider, Request(hired.model, prompt.system, prompt.user, most, temperature, replica))
    if sealing.skips(key):
        return None
    reply = await run.ask(
        stage, teacher, prompt.system, prompt.user, max_tokens=most, temperature=temperature, replica=replica
    )
    sealing.seen[key] = reply is not None
    return reply


def _take_fresh(grown: Grown, replies: list[Reply | None], seen: SeenMarks, refused: list[str]) -> list[Question]:
    """Parse replies in the order asked; duplicates are refused as they arrive."""
    fresh: list[Question] = []
    for reply in replies:
        if reply is None:
            continue
        for parsed in parse_questions(reply.text):
            grown.asked += 1
            if parsed.reason:
                grown.rejected.append(Rejected(f"parse/{parsed.reason}", reply.request_key, parsed.text))
                continue
            mark = fingerprint(parsed.text)
            if mark in seen:
                grown.duplicates += 1
                refused.append(parsed.text)
                continue
            seen.add(mark)
            fresh.append(new_question(parsed.text, grown.shard, parsed.topic, reply))
    return fresh


def new_question(text: str, shard: Shard, topic: str, reply: Reply) -> Question:
    """A question just read from a reply."""
    return Question(text, shard.cell, topic, reply.model, reply.request_key, utc(reply.received_at))


def _decide(run: DatasetRun, grown: Grown, verdicts: list[Verdicts]) -> None:
    """Accept or reject what was judged, and count how the judge did."""
    before = len(grown.accepted)
    decide_all(grown, verdicts, run.recipe.dataset.judge.pass_mean)
    run.progress.add("questions", min(len(grown.accepted), grown.shard.rows) - min(before, grown.shard.rows))


def decide_all(grown: Grown, verdicts: list[Verdicts], pass_mean: float) -> None:
    for verdict in verdicts:
        for question in verdict.judged:
            judgement = question.judgement
            assert judgement is not None, "judged questions carry their judgement"
            harm = question.traits.harm_category if question.traits else "none"
            if harm != "none":
                grown.rejected.append(Rejected(f"harm/{harm}", judgement.request_key, question.text))
            elif judgement.mean >= pass_mean:
                grown.accepted.append(question)
            else:
                grown.rejected.append(Rejected(f"judge/{_worst(judgement)}", judgement.request_key, question.text))
        grown.rejected += [Rejected("judge/no-scores", q.request_key, q.text) for q in verdict.unjudged]
        grown.hidden_right += verdict.hidden_right
        grown.hidden_seen += verdict.hidden_seen
        for kind, count in verdict.hidden_missed.items():
            grown.hidden_missed[kind] = grown.hidden_missed.get(kind, 0) + count


def _worst(judgement: Judgement) -> str:
    """The criterion with the lowest score names the reason."""
    scores = {
        "clarity": judgement.clarity,
        "relevance": judgement.relevance,
        "difficulty": judgement.difficulty,
        "quality": judgement.quality,
    }
    return min(scores, key=scores.__getitem__)
