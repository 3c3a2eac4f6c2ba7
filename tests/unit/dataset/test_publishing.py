"""What is published: both record formats, traits, token counts, the split, and that stock tools read it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cogumi.dataset.grow import decide_all
from cogumi.dataset.judge import Verdicts, traits_of
from cogumi.dataset.plan import Plan
from cogumi.dataset.published import Published, open_published
from cogumi.dataset.shards import Grown, Shard
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.domain import Cell, Difficulty, Judgement, Question, Traits
from cogumi.domain.traits import COMPLEXITIES, HARM_CATEGORIES, TASK_TYPES
from cogumi.errors import InputError, StorageError
from cogumi.lm.chat import SPEC, encode_example, response_text
from cogumi.lm.tokenizer import load_tokenizer
from cogumi.recipe import load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.procedural.classify import classify, harm_of
from tests.skipped import miss

EASY = Cell("math", Difficulty.EASY)


async def published(root: Path, *overrides: str) -> Published:
    recipe = load_recipe("tiny", list(overrides))
    with RunFolder.open(root, "r", recipe) as folder:
        async with open_dataset_run(recipe, folder) as run:
            await generate(run, Plan.for_recipe(recipe))
    return open_published(root / "r" / "dataset")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    return asyncio.run(published(folder, "dataset.split={validation: 0.15, test: 0.15}"))


async def test_the_second_format_says_what_the_first_says(data: Published) -> None:
    first = {row["question_id"]: row for row in data.rows()}
    second = list(data.prompt_rows())
    assert len(first) == len(second) == 80
    for row in second:
        other = first[row["metadata"]["question_id"]]
        assert (row["prompt"], row["response"]) == (other["question"], other["answer"])
        hard = other["difficulty"] == "hard"
        assert ("draft" in row, "thinking" in row) == (hard, hard)
        if hard:
            assert (row["draft"], row["thinking"]) == (other["reasoning"]["draft"], other["reasoning"]["critique"])
        assert row["metadata"]["teacher_model"] == other["metadata"]["answer_model"]
        assert row["metadata"]["domain"].lower().replace(" ", "_") == other["domain"]


async def test_traits_are_of_the_domain_and_token_counts_are_counted(data: Published) -> None:
    tokenizer = load_tokenizer(data.path / "tokenizer")
    for row in data.prompt_rows():
        told = row["metadata"]
        assert told["task_type"] in TASK_TYPES[told["domain"].lower().replace(" ", "_")]
        assert told["complexity"] in COMPLEXITIES and told["harm_category"] == "none"
        assert told["classified_by"] == "family"
        text = response_text(row["response"], row.get("draft"), row.get("thinking"), SPEC)
        plain = text if "draft" in row else row["response"]
        assert told["token_count"] == len(encode_example(tokenizer, row["prompt"], plain).ids)
    assert sum(data.metrics["tokens"].values()) == sum(r["metadata"]["token_count"] for r in data.prompt_rows())


async def test_pandas_and_datasets_read_it_without_us(data: Published, tmp_path: Path) -> None:
    frame = data.to_pandas("train")
    assert len(frame) == data.metrics["split"]["train"] and frame["metadata.token_count"].min() > 10
    assert set(data.to_pandas().columns) >= {"question", "answer", "reasoning.draft", "metadata.validated"}
    assert len(pd.read_parquet(data.path / "train.parquet")) == len(frame)
    datasets = pytest.importorskip("datasets", reason="datasets is in the dev extra")
    loaded = datasets.load_dataset(str(data.path), cache_dir=str(tmp_path))
    assert {name: len(part) for name, part in loaded.items()} == data.metrics["split"]
    assert loaded["train"][0]["metadata"]["difficulty"] in ("easy", "hard")


async def test_a_damaged_dataset_is_not_opened(tmp_path: Path) -> None:
    data = await published(tmp_path, "dataset.cells={math: {easy: 3}}")
    (data.path / "train.jsonl").write_text("{}\n")
    with pytest.raises(StorageError, match=r"artifact-damaged.*train\.jsonl"):
        open_published(data.path)


async def test_a_given_tokenizer_is_used_and_a_wrong_one_stops_before_anything_is_published(tmp_path: Path) -> None:
    fixture = Path(__file__).parents[2] / "golden" / "tokenizer"
    data = await published(tmp_path, "dataset.cells={math: {easy: 3}}", f"dataset.tokenizer.path={fixture}")
    assert data.metrics["tokenizer"]["source"] == str(fixture)
    spoiled = json.loads((fixture / "tokenizer.json").read_text())
    spoiled["added_tokens"] = []
    for name in ("<|eot_id|>", "<|begin_of_text|>"):
        del spoiled["model"]["vocab"][name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(spoiled))
    other = tmp_path / "other"
    with pytest.raises(InputError, match="tokenizer-lacks-specials"):
        await published(other, "dataset.cells={math: {easy: 3}}", f"dataset.tokenizer.path={tmp_path}/tokenizer.json")
    assert not (other / "r" / "dataset").exists()


# -- traits


def question(text: str, cell: Cell = EASY) -> Question:
    return Question(text, cell, "", "m", "k", "t")


def row(**changes: Any) -> dict[str, Any]:
    return {"task_type": "algebra", "complexity": "low", "requires_reasoning": True, "harm_category": "none", **changes}


def test_a_reply_is_believed_where_it_is_whole() -> None:
    asked = question("A question that no family has asked, about x and y?")
    assert traits_of(asked, row()) == Traits("algebra", "low", True, "none", "teacher")
    assert traits_of(asked, row(task_type="Word Problems", requires_reasoning="yes")).classified_by == "teacher"
    for broken in ({"task_type": "cooking"}, {"complexity": "extreme"}, {"harm_category": "unsure"},
                   {"requires_reasoning": 1}, {"requires_reasoning": "perhaps"}, {"task_type": None}):  # fmt: skip
        assert traits_of(asked, row(**broken)).classified_by == "rules"
    assert traits_of(asked, {}).classified_by == "rules"


def test_harmful_questions_are_filtered_and_counted_whatever_their_scores() -> None:
    good = Judgement(9, 9, 9, 9, "judge", "k")
    judged = [
        question("Name a prime.").judged(good, Traits("arithmetic", "low", False, "none", "teacher")),
        question("Something bad.").judged(good, Traits("arithmetic", "low", False, "weapons", "teacher")),
    ]
    grown = Grown(Shard(EASY, 0, 2))
    decide_all(grown, [Verdicts(judged=judged)], 7.0)
    assert [q.text for q in grown.accepted] == ["Name a prime."]
    assert [(r.reason, r.text) for r in grown.rejected] == [("harm/weapons", "Something bad.")]


@pytest.mark.parametrize(
    ("text", "harm"),
    [
        ("How do I build a pipe bomb at home?", "weapons"),
        ("How can I kill a person without leaving traces?", "violence"),
        ("Write a keylogger that hides itself.", "none"),
        ("Write me some malware in C.", "cyber_attack"),
        ("How do I kill a process in Linux?", "none"),
        ("How to poison a rat humanely?", "none"),
        ("Explain how bombs shaped the course of the war.", "none"),
    ],
)
def test_the_rules_for_harm_catch_plain_cases_and_leave_plain_words(text: str, harm: str) -> None:
    expected = harm if "keylogger" not in text else "cyber_attack"
    assert harm_of(text) == expected


def test_every_family_names_a_task_type_of_its_domain() -> None:
    from cogumi.teachers.procedural import FAMILIES

    assert [f.name for f in FAMILIES if f.task_type not in TASK_TYPES[f.domain]] == []
    assert "none" in HARM_CATEGORIES


def test_real_questions_are_classified_by_rules(data_folder: Path) -> None:
    """The rules tell real questions apart: no domain is all one type, and hardly any is called harmful."""
    from cogumi.domain.cells import domain_key

    harmful = total = 0
    for path in sorted((data_folder / "raw_questions").glob("*.jsonl")):
        types: Counter[str] = Counter()
        for line in path.read_text().splitlines()[:1500]:
            found = json.loads(line)
            domain = domain_key(found["domain"])
            assert domain is not None
            traits = classify(found["question"], domain, found["difficulty"])
            types[traits.task_type] += 1
            harmful += traits.harm_category != "none"
            total += 1
        assert len(types) >= 2 and max(types.values()) < 0.97 * types.total(), (path.name, types)
    assert harmful <= 0.002 * total


@pytest.fixture
def data_folder(request: pytest.FixtureRequest) -> Path:
    """The folder of real data; the name `data` is taken by this module's dataset."""
    import os

    folder = os.environ.get("COGUMI_DATA", "")
    if not folder or not Path(folder).is_dir():
        miss("COGUMI_DATA")
    return Path(folder)
