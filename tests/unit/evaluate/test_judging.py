"""Answers judged by what their benchmark says: HumanEval's solutions and mutants of them, and every other scoring."""

from __future__ import annotations

import ast
import shutil
import time
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from cogumi.evaluate.asking import asked, program_of
from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.evaluate.judging import Answer, Judge, Outcome, pass_at_k
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring
from cogumi.sandbox import open_sandbox
from tests.skipped import miss


def row_of(scoring: Scoring, response: str, **more: object) -> BenchmarkRow:
    return BenchmarkRow("How many?", (response,), "test", "Math", scoring, UNKNOWN, UNKNOWN, dict(more))


@pytest.fixture
def judge() -> Judge:
    if shutil.which("bwrap") is None:
        miss("bubblewrap")
    return Judge(open_sandbox())


@pytest.fixture
def humaneval(data: Path) -> list[BenchmarkRow]:
    return list(BENCHMARKS["humaneval"].read(data / "HumanEval.jsonl.gz"))


@pytest.mark.alone
def test_all_canonical_solutions_pass_in_time(judge: Judge, humaneval: list[BenchmarkRow]) -> None:
    began = time.monotonic()
    found = judge.judge(humaneval, [Answer(asked(row)[1]) for row in humaneval])
    assert Counter(each.outcome for each in found) == {Outcome.RIGHT: 164}
    assert time.monotonic() - began <= 40
    bare = judge.judge(humaneval, [Answer(row.responses[0]) for row in humaneval])
    assert {each.outcome for each in bare} == {Outcome.RIGHT}, "a completion alone goes behind its prompt"


class _Mutant(ast.NodeTransformer):
    """Every return of the function gives something else."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return node  # one inside the function is left alone

    def visit_Return(self, node: ast.Return) -> ast.Return:
        return ast.Return(ast.Tuple([node.value or ast.Constant(None), ast.Constant("mutant")], ast.Load()))


def _mutant(row: BenchmarkRow) -> Answer:
    tree = ast.parse(row.prompt + row.responses[0])
    (function,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == row.more["entry_point"]]
    function.body = [_Mutant().visit(statement) for statement in function.body]
    return Answer(f"```python\n{ast.unparse(ast.fix_missing_locations(tree))}\n```")


def test_mutants_fail(judge: Judge, humaneval: list[BenchmarkRow]) -> None:
    found = judge.judge(humaneval, [_mutant(row) for row in humaneval])
    assert [
        row.more["task_id"] for row, each in zip(humaneval, found, strict=True) if each.outcome is Outcome.RIGHT
    ] == []


@pytest.mark.parametrize(
    "way_out", ["import os; os._exit(0)", "import sys; sys.exit(0)", "raise SystemExit", "print('passed')"]
)
def test_leaving_before_the_tests_is_no_pass(judge: Judge, humaneval: list[BenchmarkRow], way_out: str) -> None:
    row = humaneval[0]
    cheat = f"```python\n{row.prompt}    {way_out}\n```"
    (found,) = judge.judge([row], [Answer(cheat)])
    assert found.outcome is Outcome.WRONG and found.detail


def test_a_missing_module_is_said(judge: Judge, humaneval: list[BenchmarkRow]) -> None:
    (found,) = judge.judge(
        [humaneval[0]], [Answer(f"```python\nimport numpy\n{humaneval[0].prompt}    return True\n```")]
    )
    assert (found.outcome, found.detail) == (Outcome.WRONG, "missing module numpy")


def test_a_program_keeps_the_imports_and_helpers_of_its_prompt(humaneval: list[BenchmarkRow]) -> None:
    (row,) = [row for row in humaneval if row.more["task_id"] == "HumanEval/38"]  # it decodes with a helper above
    answer = "```python\ndef decode_cyclic(s: str):\n    return encode_cyclic(encode_cyclic(s))\n```"
    assert "def encode_cyclic" in program_of(row, answer)


def test_without_a_sandbox_code_is_unjudged(humaneval: list[BenchmarkRow]) -> None:
    (found,) = Judge(None).judge([humaneval[0]], [Answer("pass")])
    assert found.outcome is Outcome.UNJUDGED and found.right is None


@pytest.mark.parametrize(
    ("scoring", "gold", "text", "outcome"),
    [
        (Scoring.NUMBER, "18", "16 - 3 - 4 = 9, 9 * 2 = 18.0", Outcome.RIGHT),
        (Scoring.NUMBER, "18", "#### 1,8", Outcome.RIGHT),
        (Scoring.NUMBER, "18", "It is 17.", Outcome.WRONG),
        (Scoring.NUMBER, "18", "No idea.", Outcome.UNPARSED),
        (Scoring.NUMBER, "18", "I'm sorry, I cannot help with that.", Outcome.REFUSED),
        (Scoring.NUMBER, "18", "<draft>17</draft>\n<thinking>no</thinking>\n<response>18</response>", Outcome.RIGHT),
        (Scoring.CHOICE, "B", "The answer is (B).", Outcome.RIGHT),
        (Scoring.CHOICE, "B", "A", Outcome.WRONG),
        (Scoring.CHOICE, "B", "Both of them.", Outcome.UNPARSED),
        (Scoring.MATHS, r"\frac{1}{2}", r"so \boxed{0.5}", Outcome.RIGHT),
        (Scoring.MATHS, r"\frac{1}{2}", r"so \boxed{2}", Outcome.WRONG),
        (Scoring.MATHS, r"\frac{1}{2}", "As an AI I do not compute.", Outcome.REFUSED),
    ],
)
def test_each_scoring_reads_its_answer(scoring: Scoring, gold: str, text: str, outcome: Outcome) -> None:
    with Judge(None) as judge:
        (found,) = judge.judge([row_of(scoring, gold)], [Answer(text)])
    assert found.outcome is outcome and found.score == float(outcome is Outcome.RIGHT)


def test_drop_counts_parts_of_an_answer_by_f1() -> None:
    row = row_of(Scoring.DROP, "the red house", answers=[["the red house"]])
    with Judge(None) as judge:
        whole, part, none = judge.judge([row] * 3, [Answer("red house"), Answer("house"), Answer(" ")])
    assert whole.outcome is Outcome.RIGHT and whole.score == 1
    assert part.outcome is Outcome.WRONG and part.score == pytest.approx(0.67)
    assert none.outcome is Outcome.UNPARSED and none.score == 0


def test_a_truncated_answer_is_wrong_also_where_its_last_number_is_right() -> None:
    with Judge(None) as judge:
        (found,) = judge.judge([row_of(Scoring.NUMBER, "18")], [Answer("first 18", finished=False)])
    assert found.outcome is Outcome.TRUNCATED and found.score == 0


def test_pass_at_k_is_the_share_of_draws_with_a_right_one() -> None:
    for samples in range(1, 6):
        for right in range(samples + 1):
            flags = [1] * right + [0] * (samples - right)
            for k in range(1, samples + 1):
                draws = [
                    [flags[i] for i in picks] for picks in product(range(samples), repeat=k) if len(set(picks)) == k
                ]
                share = sum(any(draw) for draw in draws) / len(draws)
                assert pass_at_k(samples, right, k) == pytest.approx(share)
    for bad in ((3, 4, 1), (3, 1, 4), (3, 1, 0)):
        with pytest.raises(ValueError):
            pass_at_k(*bad)
