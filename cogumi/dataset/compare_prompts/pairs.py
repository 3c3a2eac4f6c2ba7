"""Pairs: both prompts' answers to a question, and the judge's scores of the two in both orders.

Every call goes through a `CallTeacher`, so that the same code buys, and counts by a ledger what is left to buy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from cogumi.dataset.answers import read_answer
from cogumi.dataset.compare_prompts.candidates import Candidate
from cogumi.dataset.parse import parse_pair
from cogumi.dataset.prompts import ShownAnswer, pair_prompt
from cogumi.domain import Difficulty, Question
from cogumi.recipe import AnswersSection, Recipe, TeacherSection, content_hash
from cogumi.teachers.types import Cache, Reply, Request

STAGES = {"answers_easy": Difficulty.EASY, "answers_hard": Difficulty.HARD}
"""The stages whose prompts can be compared, with the questions they answer."""
ANSWERS, JUDGE = "compare_answers", "compare_judge"
"""What the calls are called in the ledger."""
_JUDGE_TRIES = 3
_LEAST_CACHED_TOKENS = 2048  # shorter prefixes are not kept, see the error cache-never-hits
Side = Literal["a", "b"]
Outcome = Literal["a", "b", "equal", "left-out"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a comparison: the ledger's stage, the teacher by the recipe's name, and what it is asked."""

    stage: str
    teacher: str
    request: Request


CallTeacher = Callable[[Call], Awaitable[Reply | None]]
"""The reply, or None where the call failed for good."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two prompts of a stage, on these questions."""

    recipe: Recipe
    stage: str
    a: Candidate
    b: Candidate
    questions: list[Question]

    @property
    def section(self) -> AnswersSection:
        data = self.recipe.dataset
        return data.answers_hard if self.hard else data.answers_easy

    @property
    def hard(self) -> bool:
        return STAGES[self.stage] is Difficulty.HARD

    @property
    def teacher(self) -> TeacherSection:
        return self.recipe.teachers[self.section.teacher]

    @property
    def judge(self) -> TeacherSection:
        return self.recipe.teachers[self.recipe.dataset.judge.teacher]

    @property
    def called(self) -> tuple[str, str]:
        """The teacher that answers and the judge, by the recipe's names: no other is called."""
        return self.section.teacher, self.recipe.dataset.judge.teacher

    @property
    def identity(self) -> str:
        """What the result follows from: prompts, questions, and how teacher and judge are asked."""
        answering = self.section.model_dump(
            mode="json", include={"max_tokens", "max_tokens_cap", "temperature", "tries"}
        )
        judging = self.recipe.dataset.judge.model_dump(mode="json", include={"max_tokens", "temperature"})
        models = [[teacher.label, teacher.model] for teacher in (self.teacher, self.judge)]
        prompts = [self.a.system, self.b.system, pair_prompt("", (ShownAnswer(""), ShownAnswer(""))).system]
        texts = [question.text for question in self.questions]
        return content_hash([self.stage, prompts, texts, answering, judging, models])

    def cache_of(self, candidate: Candidate) -> Cache:
        """How long the provider is to keep a prompt: as the recipe says, else five minutes, where it can be kept."""
        if self.teacher.wire != "anthropic" or len(candidate.system) // 4 < _LEAST_CACHED_TOKENS:
            return "off"
        return "5m" if self.section.cache == "off" else self.section.cache


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """One prompt's answer to a question; `reason` is empty where the dataset stage could use it."""

    shown: ShownAnswer
    reason: str
    request_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PairScores:
    """The judge's scores of the two answers in one order, 0-10; `first` is the one that stood first."""

    a: float
    b: float
    first: Side

    @property
    def lead(self) -> int:
        """1 where b is preferred, -1 where a is, else 0."""
        return (self.b > self.a) - (self.b < self.a)


@dataclass(slots=True)
class Pair:
    """A question with the answers of both prompts. `scores` has one entry for each order that was judged; `how` says
    what the outcome comes from.
    """

    question: Question
    a: PromptAnswer
    b: PromptAnswer
    scores: list[PairScores] = field(default_factory=list)
    outcome: Outcome = "left-out"
    how: str = ""

    @property
    def inconsistent(self) -> bool:
        """Whether the two orders have opposite winners."""
        return {score.lead for score in self.scores} == {-1, 1}


async def compare_pair(comparison: Comparison, question: Question, ask: CallTeacher) -> Pair:
    """Both answers and the outcome. A pair whose call failed is left out; an answer that the dataset stage could not
    use loses to one that it could; answers of the same text need no judge.
    """
    a, b = await asyncio.gather(*(_answer(comparison, c, question, ask) for c in (comparison.a, comparison.b)))
    pair = Pair(question, a, b)
    if "call-failed" in (a.reason, b.reason):
        pair.how = "call-failed"
    elif a.reason or b.reason:
        pair.outcome = "equal" if a.reason and b.reason else "b" if a.reason else "a"
        pair.how = "both unusable" if a.reason and b.reason else "one unusable"
    elif a.shown == b.shown:
        pair.outcome, pair.how = "equal", "same text"
    else:
        await _judge_both_orders(comparison, pair, ask)
    return pair


async def _answer(comparison: Comparison, candidate: Candidate, question: Question, ask: CallTeacher) -> PromptAnswer:
    """The answer of one prompt. One that was cut off is asked again with twice the tokens, as in the dataset stage."""
    section, most = comparison.section, comparison.section.max_tokens
    keys: list[str] = []
    shown, reason = ShownAnswer(""), "call-failed"
    for replica in range(section.tries):
        request = Request(
            comparison.teacher.model, candidate.system, question.text, most, section.temperature, replica,
            comparison.cache_of(candidate),
        )  # fmt: skip
        reply = await ask(Call(ANSWERS, section.teacher, request))
        if reply is None:
            return PromptAnswer(shown, "call-failed", tuple(keys))
        keys.append(reply.request_key)
        read = read_answer(reply, comparison.hard)
        shown, reason = ShownAnswer(read.answer, read.reasoning), read.reason
        if reason != "truncated" or most >= section.max_tokens_cap:
            break
        most = min(2 * most, section.max_tokens_cap)
    return PromptAnswer(shown, reason, tuple(keys))


async def _judge_both_orders(comparison: Comparison, pair: Pair, ask: CallTeacher) -> None:
    """A prompt wins where one order likes it better and the other does not like it less."""
    a, b = pair.a.shown, pair.b.shown
    forward, backward = await asyncio.gather(
        _judge(comparison, pair.question, (a, b), ask), _judge(comparison, pair.question, (b, a), ask)
    )
    if forward is None or backward is None:
        pair.how = "no-scores"
        return
    pair.scores = [PairScores(*forward, "a"), PairScores(backward[1], backward[0], "b")]
    lead = sum(score.lead for score in pair.scores)
    pair.outcome, pair.how = ("b" if lead > 0 else "a" if lead < 0 else "equal"), "judged"


async def _judge(
    comparison: Comparison, question: Question, answers: tuple[ShownAnswer, ShownAnswer], ask: CallTeacher
) -> tuple[float, float] | None:
    """Scores of the first and the second answer; a reply without both is asked again."""
    section, prompt = comparison.recipe.dataset.judge, pair_prompt(question.text, answers)
    for replica in range(_JUDGE_TRIES):
        request = Request(
            comparison.judge.model, prompt.system, prompt.user, section.max_tokens, section.temperature, replica
        )
        reply = await ask(Call(JUDGE, section.teacher, request))
        if reply is None:
            return None
        scores = parse_pair(reply.text)
        if scores is not None:
            return scores
    return None
