"""Balance of existing questions: caps by cell and by tokens of a domain, what is missing, and stability."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from cogumi.dataset.balance import balance_questions, by_own_tokenizer
from cogumi.dataset.given import read_questions
from cogumi.domain import Cell, Difficulty, Question
from cogumi.recipe import DatasetSection, load_recipe


def section(*changes: str) -> DatasetSection:
    return load_recipe("tiny", ["dataset.cells={math: {easy: 5, hard: 3}, coding: {easy: 4}}", *changes]).dataset


def questions(domain: str, difficulty: Difficulty, count: int) -> list[Question]:
    cell = Cell(domain, difficulty)
    return [Question(f"{domain} question {n}, {difficulty}?", cell, "", "m", "", "t") for n in range(count)]


def words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_cells_are_capped_and_what_is_missing_is_told() -> None:
    asked = (
        questions("math", Difficulty.EASY, 9)
        + questions("math", Difficulty.HARD, 1)
        + questions("science", Difficulty.EASY, 2)
    )
    balanced = balance_questions(asked, section("dataset.balance.to_cells=true"), words)
    assert Counter(str(q.cell) for q in balanced.kept) == {"math/easy": 5, "math/hard": 1}
    assert balanced.surplus == {"math/easy": 4, "science/easy": 2}
    assert balanced.missing == {"math/hard": 2, "coding/easy": 4}
    assert balanced.kept == [q for q in asked if q in balanced.kept]


def test_tokens_of_a_domain_are_capped() -> None:
    asked = questions("math", Difficulty.EASY, 50) + questions("coding", Difficulty.EASY, 3)
    balanced = balance_questions(asked, section("dataset.balance.max_question_tokens_per_domain=40"), words)
    assert balanced.tokens == {"math": 40, "coding": 12}


def test_without_caps_everything_stays() -> None:
    asked = questions("math", Difficulty.EASY, 50)
    assert balance_questions(asked, section(), words).kept == asked


def test_more_rows_elsewhere_move_none_here() -> None:
    few = questions("math", Difficulty.EASY, 30)
    caps = section("dataset.balance.to_cells=true")
    alone = balance_questions(few, caps, words).kept
    crowded = balance_questions([*questions("coding", Difficulty.EASY, 90), *few], caps, words).kept
    assert [q for q in crowded if q.cell.domain == "math"] == alone


def test_the_real_questions_are_balanced_and_their_missing_cells_told(data: Path) -> None:
    given = read_questions([data / "raw_questions"])
    spec = load_recipe("spec-60k", ["dataset.balance.to_cells=true"]).dataset
    balanced = balance_questions(given.questions, spec, by_own_tokenizer)
    rows = Counter(str(q.cell) for q in balanced.kept)
    assert rows["math/easy"] == 4000 and rows["reading/easy"] == 2000
    assert balanced.missing["tool_use/easy"] == 4000 and balanced.missing["math/hard"] == 6000
    assert sum(balanced.surplus.values()) + len(balanced.kept) == len(given.questions)
