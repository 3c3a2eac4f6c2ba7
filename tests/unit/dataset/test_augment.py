"""Public datasets that fill part of a cell: rows of either shape, exact counts, what the judge refuses is made up for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from cogumi.dataset.augment import augmented_questions
from cogumi.dataset.published import open_published
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.dataset.versions import open_plan
from cogumi.domain import Cell, Difficulty
from cogumi.errors import InputError
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.run_folder import RunFolder

COMMON = Cell("common_sense", Difficulty.EASY)


def csqa(number: int) -> dict[str, object]:
    choices = [{"label": label, "text": f"place {number}{label}"} for label in "ABC"]
    return {
        "id": str(number),
        "answerKey": "A",
        "question": {"stem": f"Where would {number} cats sleep at night?", "choices": choices},
    }


def recipe(path: Path, rows: int, *more: str, source: str = "commonsenseqa") -> Recipe:
    section = json.dumps([{"source": source, "path": str(path), "rows": rows}])
    return load_recipe("tiny", ["dataset.cells={common_sense: {easy: 12}}", f"dataset.augment={section}", *more])


def written(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_rows_become_questions_with_their_origin(tmp_path: Path) -> None:
    found = augmented_questions(recipe(written(tmp_path / "c.jsonl", [csqa(n) for n in range(5)]), 3))
    (first, *_) = found[COMMON]
    assert len(found[COMMON]) == 3 and first.topic == "commonsenseqa" and "MIT" in first.generated_by
    assert first.text.count("\n") == 3 and "\nA. place" in first.text


def test_the_hub_form_reads_alike(tmp_path: Path) -> None:
    hub = {
        "question": "Where do cats sleep?",
        "choices": {"label": ["A", "B"], "text": ["bed", "bath"]},
        "answerKey": "A",
    }
    (only,) = augmented_questions(recipe(written(tmp_path / "c.jsonl", [hub]), 1))[COMMON]
    assert only.text == "Where do cats sleep?\nA. bed\nB. bath"


def test_a_dataset_is_read_through_the_datasets_library(tmp_path: Path) -> None:
    """A folder in the hub's layout stands for the hub, which cannot be reached from a test."""
    document = "The council of the island voted on Tuesday to keep the ferry running through the winter months."
    rows: list[object] = [{"document": f"{n}. {document}", "summary": "Ferry kept.", "id": str(n)} for n in range(4)]
    written(tmp_path / "train.jsonl", rows)
    section = json.dumps([{"source": "xsum", "hub": str(tmp_path), "revision": "a1b2c3", "rows": 3}])
    made = load_recipe("tiny", [f"dataset.augment={section}"])
    found = augmented_questions(made)[Cell("summarization", Difficulty.EASY)]
    assert len(found) == 3 and all(q.text.startswith("Summarize this article") for q in found)
    assert augmented_questions(made)[Cell("summarization", Difficulty.EASY)] == found, "the same rows again"
    missing = json.dumps([{"source": "xsum", "hub": str(tmp_path / "none"), "revision": "a1b2c3", "rows": 3}])
    with pytest.raises(InputError, match=r"augment-unreadable.*none"):
        augmented_questions(load_recipe("tiny", [f"dataset.augment={missing}"]))


@pytest.mark.parametrize("rows", [[csqa(1)], [csqa(1), csqa(1), {"question": 5}, "text"]])
def test_too_few_usable_rows_are_an_error(rows: list[object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"augment-unreadable.*1 usable rows of 2"):
        augmented_questions(recipe(written(tmp_path / "c.jsonl", rows), 2))


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("[{")
    for path in (tmp_path / "none.jsonl", tmp_path / "broken.json"):
        with pytest.raises(InputError, match="augment-unreadable"):
            augmented_questions(recipe(path, 1))
    for bad in (
        "[{source: piqa, rows: 1}]",
        "[{source: piqa, rows: 1, hub: x/y}]",
        "[{source: nosuch, rows: 1, path: x}]",
    ):
        with pytest.raises(InputError, match="recipe-bad-value"):
            load_recipe("tiny", [f"dataset.augment={bad}"])


async def test_a_cell_is_filled_from_both_and_holds_exactly_its_count(tmp_path: Path) -> None:
    """Two public rows are spoiled, so that the judge refuses them and the teacher makes up for them."""
    rows: list[object] = [csqa(n) for n in range(4)]
    rows += [{"question": {"stem": f"TODO insert question {n} here ???", "choices": []}} for n in range(2)]
    made = recipe(written(tmp_path / "c.jsonl", rows), 6, "loopback.defect_share=0", "loopback.fault_share=0")
    with RunFolder.open(tmp_path / "runs", "r", made) as folder:
        async with open_dataset_run(made, folder) as run:
            figures = await generate(run, await open_plan(run, None, None), None)
    assert figures["cells"] == {"common_sense/easy": 12}
    frame = open_published(tmp_path / "runs" / "r" / "dataset").to_pandas()
    origins = Counter("public" if "MIT" in model else "teacher" for model in frame["metadata.question_model"])
    assert origins == {"public": 4, "teacher": 8}


def test_more_rows_than_a_cell_holds_are_refused(tmp_path: Path) -> None:
    from cogumi.dataset.plan import Plan

    made = recipe(written(tmp_path / "c.jsonl", [csqa(n) for n in range(20)]), 13)
    with pytest.raises(InputError, match="1 rows more than the cell holds"):
        Plan.for_recipe(made, augmented_questions(made))


def test_the_real_files_are_read(data: Path) -> None:
    for name, file, rows in (
        ("commonsenseqa", "commonsenseqa_dev.jsonl", 1200),
        ("piqa", "piqa_validation.json", 1800),
    ):
        found = augmented_questions(recipe(data / file, rows, source=name))[COMMON]
        assert len(found) == rows and all("\nA. " in q.text and "\nB. " in q.text for q in found)
        assert not [q for q in found if "Answer format" in q.text or "correct solution" in q.text]
