"""Answers read from text; on real model outputs of GSM8K the labels of its authors come out, every one of them."""

from __future__ import annotations

import json
import os
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from cogumi.metrics.answers import boxed, chosen, last_number, same_number
from cogumi.metrics.drop import drop_score, normalised
from tests.skipped import miss

DATA = Path(os.environ.get("COGUMI_DATA", "nowhere"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 x 14 = 42 apples.", "42"), ("#### 1,234", "1234"), ("#### 5\nbut also 6", "5"), ("it costs $-3.50.", "-3.50"),
        ("no number", None), ("about .5", ".5"), ("1,000,000 and 2", "2"), ("", None),
    ],
)  # fmt: skip
def test_the_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == number


def test_numbers_of_one_value_are_the_same() -> None:
    assert same_number("18", "18.0") and not same_number("18", "18.5")
    assert not same_number(None, None) and not same_number("x", "x")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (B).", "B"), ("answer: c", "C"), ("I thought A, but the answer is D", "D"), ("B", "B"), ("(C) because", "C"),
        ("A or B", None), ("It is a cat", None), ("A. no, the answer is **B**", "B"), ("nothing", None),
    ],
)  # fmt: skip
def test_the_letter_that_is_meant(text: str, letter: str | None) -> None:
    assert chosen(text, "ABCD") == letter


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"), (r"\boxed{1} then \boxed{2}", "2"), (r"\boxed{1} then \boxed{2", "1"),
        (r"\fbox{x}", "x"), (r"$\boxed 5$", "5"), (r"\boxed{\{1, 2\}}", r"\{1, 2\}"), ("none", None),
    ],
)  # fmt: skip
def test_the_box(text: str, inside: str | None) -> None:
    assert boxed(text) == inside


def test_the_authors_labels_of_real_model_answers_come_out() -> None:
    file = DATA / "gsm8k_example_model_solutions.jsonl"
    if not file.is_file():
        miss("COGUMI_DATA")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    models = [name for name in rows[0] if isinstance(rows[0][name], dict)]
    assert len(rows) == 1319 and len(models) == 4
    for model in models:
        for row in rows:
            gold = last_number(row["ground_truth"].rpartition("A:")[2])
            given = last_number(row[model]["solution"].rpartition("A:")[2])
            assert same_number(given, gold) == row[model]["is_correct"], (model, row["question"][:60])


@pytest.mark.parametrize(
    ("given", "golds", "score"),
    [
        (["Green Bay Packers"], [["Green Bay Packers", "Green Bay"]], (0.0, 0.5)),
        (["Yuri Gagarin"], [["Gagarin"]], (0.0, 0.67)), (["The 25-year-old"], [["25 year old"]], (1.0, 1.0)),
        (["6"], [["6.0"]], (1.0, 1.0)), (["5 yards"], [["6 yards"]], (0.0, 0.0)), (["a cat", "dogs"], [["dogs", "cat"]], (1.0, 1.0)),
        (["x"], [["y"], ["x"]], (1.0, 1.0)), ([""], [["x"]], (0.0, 0.0)), (["x"], [[""]], (0.0, 0.0)), (["x"], [], (0.0, 0.0)),
    ],
)  # fmt: skip
def test_drops_scores_by_hand(given: list[str], golds: list[list[str]], score: tuple[float, float]) -> None:
    assert drop_score(given, golds) == score


def test_spans_are_put_together_as_well_as_can_be() -> None:
    """Against every way of putting them together."""
    rng, words = Random(0), ["red", "green", "blue", "cat", "dog", "3", "7", "x"]

    def f1(one: set[str], two: set[str]) -> float:
        numbers = {word for word in two if word in ("3.0", "7.0")}
        if numbers and not numbers & one:
            return 0.0
        shared = len(one & two)
        return 2 * shared / (len(one) + len(two)) if shared else 0.0

    for _ in range(300):
        spans = [[" ".join(rng.sample(words, rng.randint(1, 3))) for _ in range(rng.randint(1, 4))] for _ in range(2)]
        mine, theirs = ([set(normalised(span).split()) for span in side] for side in spans)
        longer, shorter = (mine, theirs) if len(mine) >= len(theirs) else (theirs, mine)
        best = max(
            sum(f1(one, two) if longer is mine else f1(two, one) for one, two in zip(order, shorter, strict=True))
            for order in permutations(longer, len(shorter))
        )
        assert drop_score(spans[0], [spans[1]])[1] == pytest.approx(round(best / len(longer), 2), abs=0.0101)
