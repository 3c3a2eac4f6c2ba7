"""Judge: whether an answer is right, by the way its benchmark is scored, and what became of those that are not.

    with Judge(open_sandbox()) as judge:
        found = judge.judge(rows, answers)        # [Judgement(Outcome.RIGHT, 1.0, ""), ...]

A truncated answer is wrong, also where its last number happens to be right: it had not come to its end. Code is the
exception, since its tests decide. What cannot be read, was refused, or could not be judged is said and never dropped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from math import comb
from types import TracebackType

from cogumi.dataset.verify import verify_answer
from cogumi.evaluate.asking import program_of, said
from cogumi.evaluate.benchmarks.mmlu import LETTERS
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.metrics.answers import chosen, last_number, same_number
from cogumi.metrics.drop import drop_score
from cogumi.metrics.maths import MathsJudge
from cogumi.phases import report_phase
from cogumi.sandbox import Sandbox

PROGRAM_S = 5.0
_AT_ONCE = 4
_REFUSAL = re.compile(
    r"\A\W*(?:i['’]?m sorry|i am sorry|sorry,|i can(?:no|['’])t|i am unable|i['’]?m unable|as an ai|i won['’]t)",
    re.IGNORECASE,
)
_MISSING = re.compile(r"No module named '([^']+)'")


class Outcome(StrEnum):
    """Of an answer."""

    RIGHT = "right"
    WRONG = "wrong"
    TRUNCATED = "truncated"
    """It reached the most tokens allowed."""
    REFUSED = "refused"
    UNPARSED = "unparsed"
    """There is no number, letter, expression or program in it."""
    UNJUDGED = "unjudged"
    """Nothing here can tell: no verifier for the question, or no sandbox. It counts neither way."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote; `finished` where it ended its turn itself."""

    text: str
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` is 1 for right and 0 for not, for DROP its F1; `detail` says why, where there is more to say."""

    outcome: Outcome
    score: float
    detail: str = ""

    @property
    def right(self) -> bool | None:
        return None if self.outcome is Outcome.UNJUDGED else self.outcome is Outcome.RIGHT


class Judge:
    """Judges of all benchmarks; code is unjudged without a sandbox."""

    def __init__(self, sandbox: Sandbox | None) -> None:
        self._sandbox = sandbox
        self._maths: MathsJudge | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._maths is not None:
            self._maths.close()

    def judge(self, rows: Sequence[BenchmarkRow], answers: Sequence[Answer]) -> list[Judgement]:
        """In the order given; programs run several at once. Raises InputError extra-missing."""
        pairs = list(zip(rows, answers, strict=True))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            running = {
                place: pool.submit(self._program, row, answer)
                for place, (row, answer) in enumerate(pairs)
                if row.scoring is Scoring.CODE
            } | {
                place: pool.submit(self._judged, row, answer)
                for place, (row, answer) in enumerate(pairs)
                if row.scoring is Scoring.VERIFIED
            }
            found = []
            for place, (row, answer) in enumerate(pairs):
                report_phase("judging", place, len(pairs), "answers")
                found.append(running[place].result() if place in running else self._judged(row, answer))
            return found

    def _judged(self, row: BenchmarkRow, answer: Answer) -> Judgement:
        text = said(answer.text).strip()
        if not answer.finished:
            return Judgement(Outcome.TRUNCATED, 0.0)
        if row.scoring is Scoring.VERIFIED:
            return _verified(row, text)
        if row.scoring is Scoring.NUMBER:
            number = last_number(text)
            return _outcome(number is not None, same_number(number, last_number(row.responses[0])), text)
        if row.scoring is Scoring.CHOICE:
            letter = chosen(text, LETTERS)
            return _outcome(letter is not None, letter == row.responses[0], text)
        if row.scoring is Scoring.DROP:
            return self._drop(row, text)
        self._maths = self._maths or MathsJudge()
        compared = self._maths.compare(row.responses[0], text)
        found = _outcome(compared.parsed or bool(compared.problem), compared.equal, text)
        return Judgement(found.outcome, found.score, compared.problem)

    def _drop(self, row: BenchmarkRow, text: str) -> Judgement:
        spans = [span.strip() for span in text.split("|") if span.strip()]
        exact, f1 = drop_score(spans, row.more["answers"])
        found = _outcome(bool(spans), exact == 1.0, text)
        return Judgement(found.outcome, f1 if spans else 0.0)

    def _program(self, row: BenchmarkRow, answer: Answer) -> Judgement:
        if self._sandbox is None:
            return Judgement(Outcome.UNJUDGED, 0.0, "no sandbox")
        text = said(answer.text)
        if not text.strip():
            return Judgement(Outcome.UNPARSED, 0.0)
        program = f"{program_of(row, text)}\n{row.more['test']}\ncheck({row.more['entry_point']})\n"
        result = self._sandbox.run(program, PROGRAM_S)
        if result.ok:
            return Judgement(Outcome.RIGHT, 1.0)
        if not answer.finished:
            return Judgement(Outcome.TRUNCATED, 0.0)
        missing = _MISSING.search(result.error)
        last = (result.error.strip().splitlines() or ["it left before its tests had passed"])[-1]
        detail = f"missing module {missing[1]}" if missing else "timed out" if result.timed_out else last[:200]
        refused = bool(_REFUSAL.search(text)) and f"def {row.more['entry_point']}" not in text
        return Judgement(Outcome.REFUSED if refused else Outcome.WRONG, 0.0, detail)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that one of k answers is right, without bias (Chen et al. 2021, equation 1).

    Raises ValueError where there are fewer samples than k.
    """
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError("0 <= right <= samples, 1 <= k <= samples")
    return 1.0 - comb(samples - right, k) / comb(samples, k)


def _verified(row: BenchmarkRow, text: str) -> Judgement:
    """By the verifier of the question's family; see `dataset.verify`."""
    verdict = asyncio.run(verify_answer(row.prompt, text, str(row.more.get("topic", ""))))
    if verdict in ("unverified", "no-verifier"):
        return Judgement(Outcome.UNJUDGED, 0.0, verdict)
    return _outcome(bool(text), verdict == "passed", text)


def _outcome(parsed: bool, right: bool, text: str) -> Judgement:
    if parsed and right:
        return Judgement(Outcome.RIGHT, 1.0)
    if _REFUSAL.search(text):
        return Judgement(Outcome.REFUSED, 0.0)
    return Judgement(Outcome.WRONG if parsed else Outcome.UNPARSED, 0.0)
