"""Augment: questions of public datasets that fill part of a cell; teachers judge and answer them like any other.

From a local file (JSON or JSONL, as the dataset is distributed) or, by a hub id and a pinned revision, through the
`datasets` library; those of Reasoning Gym are generated. The source and its licence stay with every row as its topic
and origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.parse import LEAST_CHARACTERS, MOST_CHARACTERS, clean
from cogumi.domain import Cell, Difficulty, Question, utc
from cogumi.errors import InputError
from cogumi.extras import need
from cogumi.recipe import AugmentSection, Recipe
from cogumi.store.files import Quarantined, read_foreign_jsonl
from cogumi.teachers.procedural.gym import GYM, gym_tasks


@dataclass(frozen=True, slots=True)
class Source:
    """A public dataset: where its questions belong, its licence, and how one of its rows becomes a question's text."""

    cell: Cell
    licence: str
    text: Callable[[dict[str, Any]], str] = lambda row: str(row["question"])


def _commonsenseqa(row: dict[str, Any]) -> str:
    question = row["question"]
    if isinstance(question, dict):  # as its authors distribute it
        stem, choices = question["stem"], [(c["label"], c["text"]) for c in question["choices"]]
    else:  # as the hub has it
        stem, choices = question, list(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
    return "\n".join([stem, *(f"{label}. {text}" for label, text in choices)])


def _piqa(row: dict[str, Any]) -> str:
    if "goal" in row:
        return f"Which is the better way? {row['goal']}\nA. {row['sol1']}\nB. {row['sol2']}"
    question = str(row["instruction"]).split("\n\nAnswer format", 1)[0]
    head = "Please choose the correct solution to the question: "
    return question.removeprefix(head).replace("\n\nSolution1: ", "\nA. ").replace("\n\nSolution2: ", "\nB. ")


def _xsum(row: dict[str, Any]) -> str:
    return f"Summarize this article in one sentence.\n\n{row['document']}"


SOURCES: dict[str, Source] = {
    "commonsenseqa": Source(Cell("common_sense", Difficulty.EASY), "MIT", _commonsenseqa),
    "piqa": Source(Cell("common_sense", Difficulty.EASY), "AFL-3.0", _piqa),
    "xsum": Source(Cell("summarization", Difficulty.EASY), "not stated by its authors", _xsum),
    "reasoning_gym_math": Source(Cell("math", Difficulty.HARD), "Apache-2.0"),
    "reasoning_gym_reasoning": Source(Cell("reasoning", Difficulty.HARD), "Apache-2.0"),
}


def augmented_questions(recipe: Recipe) -> dict[Cell, list[Question]]:
    """Questions by cell, at most `rows` of each source, in an order of their own, without exact duplicates.

    Raises InputError augment-unreadable where a source cannot be read or gives fewer usable rows than asked for.
    """
    found: dict[Cell, list[Question]] = {}
    seen: set[str] = set()
    for section in recipe.dataset.augment:
        source = SOURCES[section.source]
        questions: list[Question] = []
        for question in _questions(section, source, recipe.seed):
            if len(questions) == section.rows:
                break
            mark = fingerprint(question.text)
            if mark not in seen:
                seen.add(mark)
                questions.append(question)
        if len(questions) < section.rows:
            raise InputError("augment-unreadable", f"{section.source}: {len(questions)} usable rows of {section.rows}")
        found.setdefault(source.cell, []).extend(questions)
    return found


def _questions(section: AugmentSection, source: Source, seed: int) -> Iterator[Question]:
    if section.source.startswith(GYM):
        yield from _gym_questions(source, seed)
        return
    rows = list(_rows(section))
    Random(f"{seed}/augment/{section.source}").shuffle(rows)
    read_at = utc(Path(section.path).stat().st_mtime) if section.path else utc(0)
    made_by = f"{section.source} ({source.licence})"
    for row in rows:
        try:
            text = clean(source.text(row))
        except (KeyError, TypeError, ValueError):
            continue  # a row of another shape; too many of them and the count is not reached, which is an error
        if LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS:
            yield Question(text, source.cell, section.source, made_by, "", read_at)


def _gym_questions(source: Source, seed: int) -> Iterator[Question]:
    """Generated rows without end, whose answers their own scorer will verify; the topic says which row it is."""
    for task in gym_tasks(source.cell.domain, seed):
        text = task.question.strip()
        if clean(text) == text and LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS:
            yield Question(text, source.cell, task.name, f"reasoning-gym ({source.licence})", "", utc(0))


def _rows(section: AugmentSection) -> Iterable[dict[str, Any]]:
    if section.path is None:
        return _from_hub(section)
    path = Path(section.path)
    if not path.is_file():
        raise InputError("augment-unreadable", f"{path}: no such file")
    if path.suffix == ".json":
        try:
            value = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise InputError("augment-unreadable", f"{path}: {error}") from None
        return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    return [found[1] for found in read_foreign_jsonl(path) if not isinstance(found, Quarantined)]


def _from_hub(section: AugmentSection) -> Iterable[dict[str, Any]]:
    need(f"dataset.augment {section.hub}", "datasets")
    import datasets  # noqa: PLC0415 - an extra of 100 MB that local files do without

    try:
        return [dict(row) for row in datasets.load_dataset(section.hub, revision=section.revision, split=section.split)]
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputError("augment-unreadable", f"{section.hub}: {error}") from None
