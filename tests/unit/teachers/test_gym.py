"""Reasoning Gym: every allowed family keeps to the rule that let it in, and whole runs verify its rows."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogumi.dataset.augment import augmented_questions
from cogumi.dataset.published import open_published
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.dataset.verify import verify_answer
from cogumi.dataset.versions import open_plan
from cogumi.errors import InputError
from cogumi.recipe import load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.procedural.family import mutate_text
from cogumi.teachers.procedural.gym import GYM_FAMILIES, find_task, gym_task, gym_tasks, is_right
from tests.skipped import miss

ALL = [name for names in GYM_FAMILIES.values() for name in names]


@pytest.fixture
def gym() -> None:
    """Its dependency pycosat is built from source, so that it is an extra of its own."""
    if find_spec("reasoning_gym") is None:
        miss("reasoning-gym")


@pytest.mark.usefixtures("gym")
@pytest.mark.parametrize("family", ALL)
def test_an_allowed_family_keeps_to_its_rule(family: str) -> None:
    """Gold right, nonsense wrong, 95% of a thousand unique, none long; 500 a second, with room for a busy machine."""
    began = time.process_time()
    tasks = [gym_task(family, 7, place) for place in range(1000)]
    seconds = time.process_time() - began
    assert len({task.question for task in tasks}) >= 950
    assert max(len(task.question) for task in tasks) <= 1500
    assert seconds < 4
    for task in [task for task in tasks if task.gold.strip()][:25]:
        assert is_right(task, task.gold), task
        if "\n" not in task.gold:
            assert is_right(task, f"Let me see.\nAnswer: {task.gold}"), task
        assert not is_right(task, "certainly not this")
        assert not is_right(task, "")


@pytest.mark.usefixtures("gym")
def test_most_spoiled_answers_are_found_wrong() -> None:
    """A near miss may be right by chance, where several answers are; it must not be so in general."""
    rng = Random(3)
    taken = [(task, mutate_text(task.gold, rng)) for task in islice(gym_tasks("math", 5), 400)]
    caught = sum(not is_right(task, wrong) for task, wrong in taken)
    assert caught >= 390


@pytest.mark.usefixtures("gym")
def test_a_row_is_found_again_by_its_name_and_only_with_its_question() -> None:
    for task in islice(gym_tasks("reasoning", 11), 80):
        assert find_task(task.name, task.question) == task
        assert is_right(task, task.gold)
        assert find_task(task.name, task.question + " And why?") is None
        assert find_task(task.name.replace("/11/", "/12/"), task.question) is None


@given(st.one_of(st.text(max_size=40), st.from_regex(r"reasoning_gym/[a-z_]{1,12}/[0-9-]{1,30}/[0-9]{1,30}")))
def test_a_name_that_a_model_made_up_is_no_row(name: str) -> None:
    assert find_task(name, "What is 1 + 1?") is None


@pytest.mark.usefixtures("gym")
async def test_a_run_takes_its_rows_and_verifies_every_answer(tmp_path: Path) -> None:
    made = load_recipe(
        "tiny",
        [
            "dataset.cells={math: {easy: 2, hard: 20}, reasoning: {hard: 14}}",
            "dataset.augment=[{source: reasoning_gym_math, rows: 12}, {source: reasoning_gym_reasoning, rows: 14}]",
            "loopback.wrong_share=0.4",
        ],
    )
    with RunFolder.open(tmp_path, "r", made) as folder:
        async with open_dataset_run(made, folder) as run:
            figures = await generate(run, await open_plan(run, None, None), None)
    assert figures["cells"] == {"math/hard": 20, "reasoning/hard": 14, "math/easy": 2}
    assert figures["answers_asked_again"]["wrong"] > 2, "wrong answers were found"
    rows = [row for row in open_published(folder.dataset).rows() if "gym" in row["metadata"]["question_model"]]
    assert len(rows) > 20
    for row in rows:
        assert row["metadata"]["verification"] == "passed"
        assert await verify_answer(row["question"], row["answer"], row["metadata"]["topic"]) == "passed"
        assert await verify_answer(row["question"], "certainly not this", row["metadata"]["topic"]) == "failed"


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    made = load_recipe("tiny", ["dataset.augment=[{source: reasoning_gym_math, rows: 3}]"]).model_copy(
        update={"seed": 999_983}  # not in the cache
    )
    with pytest.raises(InputError, match=r"extra-missing.*cogumi\[gym\]"):
        augmented_questions(made)
    assert find_task("reasoning_gym/gcd/999983/1", "x") is None


def test_its_rows_are_generated_and_no_file_is_read() -> None:
    with pytest.raises(InputError, match="neither path nor hub"):
        load_recipe("tiny", ["dataset.augment=[{source: reasoning_gym_math, rows: 3, path: x.jsonl}]"])
