"""Review by people: each format out and in again, hostile text, decisions carried out, rejected questions kept out."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cogumi.dataset.published import Published, open_published
from cogumi.dataset.review import Decision, ReviewFormat, export_review, read_decisions
from cogumi.dataset.reviewed import apply_decisions, examples_of
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.dataset.versions import open_plan, publish_version
from cogumi.errors import InputError
from cogumi.recipe import load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions

CELLS = "dataset.cells={math: {easy: 6, hard: 4}, coding: {easy: 4}}"


async def make(root: Path, name: str, versions: Versions | None = None, *more: str) -> Published:
    recipe = load_recipe("tiny", [CELLS, "dataset.split={validation: 0, test: 0.3}", *more])
    with RunFolder.open(root, name, recipe) as folder:
        async with open_dataset_run(recipe, folder) as run:
            await generate(run, await open_plan(run, None, versions), None)
        if versions is not None:
            publish_version(versions, folder.path, name)
    return open_published(root / name / "dataset")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return asyncio.run(make(tmp_path_factory.mktemp("review"), "r"))


def ids(data: Published) -> list[str]:
    return [row["question_id"] for row in data.rows()]


# Filling a file in as a person would, with the tool's own format.


def fill_csv(path: Path, told: dict[str, dict[str, str]]) -> None:
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8-sig")))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, **told.get(row["question_id"], {})} for row in rows)


def fill_label_studio(path: Path, told: dict[str, dict[str, str]]) -> None:
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks):
        said = told.get(task["data"]["question_id"], {})
        result = [
            {"from_name": name, "type": "choices" if name == "decision" else "textarea",
             "value": {"choices": [text]} if name == "decision" else {"text": [text]}}
            for name, text in said.items()
        ]  # fmt: skip
        task |= {"id": number, "annotations": [{"was_cancelled": False, "result": result}] if said else []}
    path.write_text(json.dumps(tasks))


def fill_argilla(path: Path, told: dict[str, dict[str, str]]) -> None:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        said = told.get(record["id"], {})
        record["responses"] = {n: [{"value": v, "user_id": "u", "status": "submitted"}] for n, v in said.items()}
    path.write_text("\n".join(json.dumps(record) for record in records))


FILL: dict[ReviewFormat, Any] = {"csv": fill_csv, "label-studio": fill_label_studio, "argilla": fill_argilla}


@pytest.mark.parametrize("form", FILL)
def test_decisions_come_back_as_they_were_made(form: ReviewFormat, data: Published, tmp_path: Path) -> None:
    path = tmp_path / "review.file"
    assert export_review(data, form, path) == 14
    assert read_decisions(form, path) == []  # nobody has decided anything yet
    first, second, third, *_ = ids(data)
    edited = '=SUM(A1)\n"quoted", and a comma'
    FILL[form](path, {
        first: {"decision": "accept"},
        second: {"decision": "reject", "note": "ambiguous"},
        third: {"decision": "edit", "edited_answer": edited},
    })  # fmt: skip
    found = {decision.question_id: decision for decision in read_decisions(form, path)}
    assert found == {
        first: Decision(first, "accept"),
        second: Decision(second, "reject", note="ambiguous"),
        third: Decision(third, "edit", answer=edited),
    }


def test_a_sample_is_the_same_each_time(data: Published, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        assert export_review(data, "csv", tmp_path / name, rows=5) == 5
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_hostile_text_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    from cogumi.dataset.review import _quoted, _unquoted

    for text in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM", "\tx", "'already", "plain", "", "'"):
        assert not _quoted(text).startswith(("=", "+", "-", "@", "\t"))
        assert _unquoted(_quoted(text)) == text


@pytest.mark.parametrize(
    "rows",
    [
        [["question_id", "decision"], ["x", "maybe"]],
        [["question_id", "decision", "edited_answer"], ["x", "edit", ""]],
        [["question_id"], ["x"]],
        [["question_id", "decision"], ["", "accept"]],
    ],
)
def test_what_is_no_decision_is_refused(rows: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(InputError, match="review-unreadable"):
        read_decisions("csv", path)


@pytest.mark.parametrize("form", FILL)
def test_what_is_no_such_file_is_refused(form: ReviewFormat, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\xff\xfe{]")
    with pytest.raises(InputError, match="review-unreadable"):
        read_decisions(form, tmp_path / "garbage")


def test_decisions_are_carried_out(data: Published, tmp_path: Path) -> None:
    first, second, third, *rest = ids(data)
    decisions = [
        Decision(first, "accept"),
        Decision(second, "reject", note="ambiguous"),
        Decision(third, "edit", question="What is 2 + 2, in words?", answer="four"),
    ]
    outcome = apply_decisions(data, decisions, tmp_path / "dataset")
    assert (outcome.accepted, outcome.edited, outcome.rejected, outcome.undecided) == (1, 1, 1, 11)
    made = open_published(tmp_path / "dataset")
    rows = {row["question_id"]: row for row in made.rows()}
    old = {row["question_id"]: row for row in data.rows()}
    assert set(rows) == {first, third, *rest}
    assert (rows[third]["question"], rows[third]["answer"]) == ("What is 2 + 2, in words?", "four")
    assert rows[third]["metadata"]["verification"] == "unverified"
    assert all(rows[name] == old[name] for name in (first, *rest))
    assert made.metrics["rows"] == 13 == sum(made.metrics["cells"].values()) == sum(made.metrics["split"].values())
    assert len(pd.read_parquet(tmp_path / "dataset" / "train.parquet")) == made.metrics["split"]["train"]
    moved = {r["metadata"]["question_id"]: part for part in ("train", "test") for r in made.prompt_rows(part)}  # type: ignore[arg-type]
    before = {r["metadata"]["question_id"]: part for part in ("train", "test") for r in data.prompt_rows(part)}  # type: ignore[arg-type]
    assert all(moved[name] == before[name] for name in (first, *rest))


def test_examples_survive_the_way_out_and_back(data: Published) -> None:
    records = [example.to_record() for example in examples_of(data)]
    assert records == list(data.rows())


def test_decisions_about_other_rows_are_refused(data: Published, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="decisions about rows not in it"):
        apply_decisions(data, [Decision("nowhere_easy_0001", "accept")], tmp_path / "dataset")
    with pytest.raises(InputError, match="every row is rejected"):
        apply_decisions(data, [Decision(name, "reject") for name in ids(data)], tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


async def test_a_rejected_question_does_not_come_back(tmp_path: Path) -> None:
    """The same seed would ask the very same questions again: all are taken, the rejected ones too."""
    versions = Versions(str(tmp_path / "versions"), "weekly")
    first = await make(tmp_path / "runs", "one", versions)
    rejected = ids(first)[:5]
    texts = {row["question"] for row in first.rows() if row["question_id"] in rejected}
    apply_decisions(first, [Decision(name, "reject") for name in rejected], tmp_path / "dataset")
    assert versions.publish(tmp_path / "dataset", "review").number == 2
    only_reviewed = Versions(str(tmp_path / "others"), "weekly")
    only_reviewed.publish(tmp_path / "dataset", "review")
    second = await make(tmp_path / "runs", "two", only_reviewed)
    assert not texts & {row["question"] for row in second.rows()}
