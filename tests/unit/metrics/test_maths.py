"""Expressions that are equal, and that are not; and a worker that dies or takes for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.metrics.maths import MathsJudge


@pytest.fixture(scope="module")
def judge() -> Iterator[MathsJudge]:
    with MathsJudge() as opened:
        yield opened


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        (r"\frac{1}{2}", "so it is $0.5$", True),
        (r"\frac{1}{2}", r"thus \boxed{\frac{2}{4}}, not 3", True),
        ("2", "first 7, and the answer is 2", True),
        ("2", "the answer is 3", False),
        (r"x^2+1", r"$1+x^{2}$", True),
        (r"\{1,2\}", r"\boxed{\{2,1\}}", True),
        (r"[0,1)", r"\boxed{[0,1]}", False),
        (r"\sqrt{8}", r"$2\sqrt{2}$", True),
    ],
)
def test_expressions_are_compared_by_value(judge: MathsJudge, gold: str, answer: str, equal: bool) -> None:
    assert judge.compare(gold, answer).equal is equal


def test_an_answer_without_an_expression_says_so(judge: MathsJudge) -> None:
    found = judge.compare("2", "I do not know.")
    assert not found.parsed and not found.equal and not found.problem


def test_a_worker_that_dies_or_hangs_is_said_and_replaced(judge: MathsJudge) -> None:
    judge.compare("1", "1")
    assert judge._worker is not None
    os.kill(judge._worker.pid, signal.SIGKILL)
    assert judge.compare("1", "1").problem
    assert judge.compare("1", "1").equal
    os.kill(judge._worker.pid, signal.SIGSTOP)
    judge._patience_s, before = 0.2, judge._patience_s
    try:
        assert judge.compare("1", "1").problem
    finally:
        judge._patience_s = before
    assert judge.compare("1", "1").equal


def test_an_endless_power_does_not_stop_the_rest(judge: MathsJudge) -> None:
    assert not judge.compare("9", "$9^{9^{9^{9^{9}}}}$").equal
    assert judge.compare("9", "$9$").equal


def test_gold_answers_of_math_verify_against_their_own_solutions(judge: MathsJudge, data: Path) -> None:
    rows = list(BENCHMARKS["math"].read(data / "math_test_5000.jsonl"))
    wrong = [row.responses[0] for row in rows if not judge.compare(row.responses[0], row.more["worked"]).equal]
    assert len(rows) == 5000
    assert wrong == [], "99.5% is asked for; measured with this version of math-verify, all of them"
