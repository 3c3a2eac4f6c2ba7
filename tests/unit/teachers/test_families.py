"""The procedural families: every gold answer passes, every mutated one fails, every question can be read back."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from cogumi.domain import DOMAINS, Difficulty
from cogumi.teachers.procedural import FAMILIES, Family, by_domain, recognise
from cogumi.teachers.procedural.defects import DEFECTS, looks_defective, spoil
from cogumi.teachers.procedural.mind import Mind

SEEDS = 120
CASES = [pytest.param(f, d, id=f"{f.name}-{d}") for f in FAMILIES for d in Difficulty]


def test_every_domain_has_at_least_five_families() -> None:
    counts = Counter(family.domain for family in FAMILIES)
    assert set(counts) == set(DOMAINS)
    assert min(counts.values()) >= 5
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize(("family", "difficulty"), CASES)
def test_gold_passes_mutants_fail_and_the_question_says_it_all(family: Family, difficulty: Difficulty) -> None:
    for seed in range(SEEDS):
        rng = Random(seed)
        task = family.generate(rng, difficulty)
        read = recognise(task.question)
        assert read is not None and read.family is family and read.difficulty is difficulty, task.question
        assert read.params == task.params
        assert task.verify(task.solution.answer), (task.question, task.solution.answer)
        wrong = task.wrong_answer(rng)
        assert not task.verify(wrong), (task.question, wrong)
        assert task.solution.steps and all(task.solution.steps) and task.solution.check
        assert not looks_defective(task.question), task.question


FORM_IS_PART = {"instruction", "summarization"}  # an answer with words around it breaks the stated form
SPOKEN = [f for f in FAMILIES if f.domain not in FORM_IS_PART and not f.runs_code]


@pytest.mark.parametrize("family", SPOKEN, ids=lambda family: family.name)
def test_a_gold_answer_in_a_sentence_passes_too(family: Family) -> None:
    for seed in range(20):
        task = family.generate(Random(seed), Difficulty.EASY)
        assert task.verify(f"Let me think.\nAnswer: {task.solution.answer}"), task.question


@pytest.mark.parametrize(("family", "difficulty"), CASES)
def test_questions_vary(family: Family, difficulty: Difficulty) -> None:
    questions = {family.generate(Random(seed), difficulty).question for seed in range(SEEDS)}
    assert len(questions) >= 0.75 * SEEDS


def test_a_seed_is_a_question() -> None:
    family = FAMILIES[0]
    first = [family.generate(Random(seed), Difficulty.HARD).question for seed in range(20)]
    assert first == [family.generate(Random(seed), Difficulty.HARD).question for seed in range(20)]


def test_real_questions_belong_to_no_family() -> None:
    for text in (
        "What is the purpose of code refactoring?",
        "Solve for x: x/3 + 4 = 7",
        "",
        "Is 9pm after or before 3am?",
    ):
        assert recognise(text) is None


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_spoiled_question_differs_and_its_form_or_cell_shows_it(defect: str) -> None:
    for seed in range(60):
        rng = Random(seed)
        family = rng.choice(by_domain("math"))
        good = family.generate(rng, Difficulty.EASY).question
        bad = spoil(defect, good, "math", Difficulty.EASY, rng)
        assert bad != good
        read = recognise(bad)
        other_cell = read is not None and (read.family.domain != "math" or read.difficulty is Difficulty.HARD)
        assert looks_defective(bad) or other_cell, (defect, bad)


def test_the_mind_answers_the_same_prompt_alike_and_another_sample_may_differ() -> None:
    mind = Mind(wrong_share=0.5)
    task = by_domain("math")[0].generate(Random(1), Difficulty.EASY)
    assert mind.reply("", task.question) == mind.reply("", task.question)
    assert len({mind.reply("", task.question, sample) for sample in range(12)}) > 1
    assert Mind().reply("", task.question) == task.solution.answer


@pytest.mark.alone
def test_generation_is_fast_enough_for_60k_rows() -> None:
    import time

    began = time.process_time()
    for seed in range(3000):
        rng = Random(seed)
        rng.choice(FAMILIES).generate(rng, Difficulty.HARD)
    assert time.process_time() - began < 6  # 60,000 in two minutes at the very worst; measured: seconds
