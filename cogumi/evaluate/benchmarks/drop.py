"""DROP: questions on a passage whose answer is a number, a date or spans of text; answers of several annotators count.

Two forms go round: the authors' JSON (passages, each with qa_pairs), and rows of JSON with the passage and question in
`context` and the answers in `ref_text`, one behind another with `|` (simple-evals). Answers are lists of spans; the
second form does not say where one span ends and the next begins, so that each of its answers is one span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from cogumi.errors import InputError
from cogumi.evaluate.files import json_rows, needed, read_text
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring, hash_of

_QUESTION = "\nQuestion:"


def read(file: Path) -> Iterator[BenchmarkRow]:
    """The subject is the kind of answer. Raises InputError benchmark-unreadable, benchmark-columns."""
    text = read_text(file).lstrip()
    if "\n{" not in text and text.startswith("{") and '"qa_pairs"' in text:
        yield from _passages(file, text)
        return
    for row in json_rows(file):
        needed(row, ("context", "ref_text"), file)
        context = str(row["context"])
        passage, found, _ = context.partition(_QUESTION)
        if not found:
            raise InputError("benchmark-columns", f"{file}: a context without a question: {context[:80]!r}")
        answers = [[answer] for answer in str(row["ref_text"]).split("|")]
        yield _row(context, passage.removeprefix("Passage:").strip(), answers, UNKNOWN)


def _passages(file: Path, text: str) -> Iterator[BenchmarkRow]:
    try:
        told = orjson.loads(text)
        for entry in told.values():
            for pair in entry["qa_pairs"]:
                given = [pair["answer"], *pair.get("validated_answers", [])]
                answers = [answer for answer in map(_spans, given) if answer]
                context = f"Passage: {entry['passage']}{_QUESTION} {pair['question']}\nAnswer:"
                yield _row(context, entry["passage"], answers, _kind(pair["answer"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError("benchmark-unreadable", f"{file}: {error!r}") from None


def _row(context: str, passage: str, answers: list[list[str]], kind: str) -> BenchmarkRow:
    distinct = list(dict.fromkeys(tuple(answer) for answer in answers))
    return BenchmarkRow(
        context, tuple(", ".join(answer) for answer in distinct), "drop", "Reading", Scoring.DROP, UNKNOWN, kind,
        {"answers": [list(answer) for answer in distinct], "cluster": hash_of(passage)},
    )  # fmt: skip


def _spans(answer: Mapping[str, Any]) -> list[str]:
    """As the authors' scorer reads an answer: its number, its spans, or its date."""
    if answer.get("number"):
        return [str(answer["number"])]
    if answer.get("spans"):
        return [str(span) for span in answer["spans"]]
    date = answer.get("date") or {}
    words = " ".join(str(date.get(part) or "") for part in ("day", "month", "year")).split()
    return [" ".join(words)] if words else []


def _kind(answer: Mapping[str, Any]) -> str:
    if answer.get("number"):
        return "number"
    return ("span" if len(answer["spans"]) == 1 else "spans") if answer.get("spans") else "date"
