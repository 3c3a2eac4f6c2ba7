"""Answers: direct for easy questions; draft, critique, revision and answer for hard ones (spec sections 1.3, 1.4).

A truncated reply is asked again with twice the tokens and never kept; one without its tags, or one that its verifier
finds wrong, is asked again as another replica. What fails `tries` times is given up and its question replaced.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cogumi.dataset.context import DatasetRun
from cogumi.dataset.parse import clean
from cogumi.dataset.prompts import answer_prompt
from cogumi.dataset.shards import Answered
from cogumi.dataset.tags import parse_tagged
from cogumi.dataset.verify import as_verification
from cogumi.domain import Difficulty, Example, Question, Reasoning, Rejected, utc
from cogumi.recipe import AnswersSection
from cogumi.teachers.types import Reply


@dataclass(frozen=True, slots=True)
class _Read:
    """What one reply holds; `reason` is empty where it can be kept."""

    answer: str
    reasoning: Reasoning | None
    reason: str


async def answer_questions(run: DatasetRun, name: str, questions: list[Question]) -> Answered:
    """Answers to all questions of a shard, in their order."""
    answered = Answered(name)
    results: dict[int, Example | Rejected] = {}
    todo = iter(enumerate(questions))

    async def work() -> None:
        for place, question in todo:
            results[place] = await _answer_one(run, question, answered)

    at_once = max((run.at_once(_stage(question)) for question in questions), default=0)
    await asyncio.gather(*(work() for _ in range(min(at_once, len(questions)))))
    for place, question in enumerate(questions):
        result = results[place]
        if isinstance(result, Example):
            answered.examples.append(result)
        else:
            answered.rejected.append(result)
            answered.failed.append(question)
    return answered


def read_answer(reply: Reply, hard: bool) -> _Read:
    """The answer in a reply, or why it cannot be kept."""
    if reply.finish == "length":
        return _Read("", None, "truncated")
    if reply.finish == "filtered":
        return _Read("", None, "filtered")
    text = clean(reply.text)
    if not hard:
        return _Read(text, None, "" if text else "empty")
    tagged = parse_tagged(text)
    return _Read(tagged.answer, tagged.reasoning, tagged.reason)


async def _answer_one(run: DatasetRun, question: Question, answered: Answered) -> Example | Rejected:
    hard = question.cell.difficulty is Difficulty.HARD
    stage = _stage(question)
    section = run.recipe.dataset.answers_hard if hard else run.recipe.dataset.answers_easy
    most, key, reason, reused = section.max_tokens, "", "call-failed", False
    for replica in range(section.tries):
        reply = await _ask(run, stage, section, question, most, replica, hard)
        if reply is None:
            continue
        key, reused = reply.request_key, reply.reused
        read = read_answer(reply, hard)
        verdict = "failed" if read.reason else await run.verify(question.text, read.answer, question.topic)
        reason = read.reason or ("wrong" if verdict == "failed" else "")
        if not reason:
            run.progress.add(stage, reused=int(reused))
            return Example(
                question,
                read.answer,
                read.reasoning,
                reply.model,
                key,
                utc(reply.received_at),
                as_verification(verdict),
            )
        answered.retried[reason] = answered.retried.get(reason, 0) + 1
        if reason == "truncated":
            most = min(2 * most, section.max_tokens_cap)
    run.progress.add(stage, reused=int(reused))
    return Rejected(f"answer/{reason}", key, question.text)


def _stage(question: Question) -> str:
    return f"answers_{question.cell.difficulty}"


async def _ask(
    run: DatasetRun,
    stage: str,
    section: AnswersSection,
    question: Question,
    most: int,
    replica: int,
    hard: bool,
) -> Reply | None:
    prompt = answer_prompt(question.text, hard, guided=section.guide)
    return await run.ask(
        stage,
        section.teacher,
        prompt.system,
        prompt.user,
        max_tokens=most,
        temperature=section.temperature,
        replica=replica,
        cache=section.cache,
        alone=replica > 0,  # what one batch did not bring is not worth waiting for another
    )
