"""Exports: the JSONL files under the spec's names, Parquet, and a dataset card.

All of one artifact, written at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from cogumi.dataset.card import dataset_card
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.near_duplicates import Match
from cogumi.dataset.shards import Grown
from cogumi.dataset.split import PARTS, Part
from cogumi.dataset.training_rows import RowCounts, TrainingRow
from cogumi.domain import Difficulty, Example, Question
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.store.files import write_atomic, write_jsonl, writing

NEAR_DUPLICATES = "near_duplicates.jsonl"
_ROW_GROUP = 1000


def count_label(count: int) -> str:
    """60000 -> "60k", 800 -> "800", as the spec names its files."""
    return f"{count // 1000}k" if count >= 1000 and count % 1000 == 0 else str(count)


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything that one published dataset is made of. `facts` go into the card."""

    shards: list[Grown]
    examples: list[Example]
    rows: Iterable[TrainingRow]
    near: list[Match]
    tokenizer: TrainingTokenizer
    counted: RowCounts
    facts: dict[str, Any]


def write_exports(folder: Path, made: Publication) -> dict[str, str]:
    """Write every file of the dataset artifact; returns what each is, by file name."""
    examples = made.examples
    easy = [e for e in examples if e.question.cell.difficulty is Difficulty.EASY]
    hard = [e for e in examples if e.question.cell.difficulty is Difficulty.HARD]
    total = count_label(len(examples))
    accepted = (question for grown in made.shards for question in grown.accepted)
    names = {
        f"questions_{total}.jsonl": "every question that passed the judge, spares included",
        f"questions_{total}_validated.jsonl": "the questions that were chosen, with their scores",
        f"answers_easy_{count_label(len(easy))}.jsonl": "direct answers",
        f"answers_hard_{count_label(len(hard))}.jsonl": "answers with draft, critique and revision",
        f"training_{total}_complete.jsonl": "questions with answers, the record of spec section 1.5",
        f"training_{total}_complete.parquet": "the same as Parquet",
    }
    questions, validated, easy_name, hard_name, complete, parquet = names
    write_jsonl(folder / questions, (_question_record(question, scores=False) for question in accepted))
    write_jsonl(folder / validated, (_question_record(example.question, scores=True) for example in examples))
    write_jsonl(folder / easy_name, map(_answer_record, easy))
    write_jsonl(folder / hard_name, map(_answer_record, hard))
    write_jsonl(folder / complete, (example.to_record() for example in examples))
    with parquet_rows(folder / parquet, _SCHEMA) as table:
        for example in examples:
            table.add(example.to_record())
    parts = _write_parts(folder, made.counted.watch(made.rows))
    names |= {
        name: f"{part}: prompt, response and metadata, the record of section 1.12" for name, part in parts.items()
    }
    write_jsonl(folder / NEAR_DUPLICATES, _near_records(made))
    names[NEAR_DUPLICATES] = "rows that were left out as near-duplicates, with the row that was kept"
    made.tokenizer.save(folder / "tokenizer")
    names["tokenizer/"] = f"the tokenizer of the token counts: {made.tokenizer.source}"
    splits: dict[str, str] = {part: name for name, part in parts.items() if name.endswith(".parquet")}
    facts = {**made.facts, "tokens": made.counted.tokens.total()}
    write_atomic(folder / "README.md", dataset_card(names, splits, examples, facts).encode())
    return names


def _write_parts(folder: Path, rows: Iterable[TrainingRow]) -> dict[str, Part]:
    """train, validation and test as JSONL and Parquet, in one pass. Returns the part by file name."""
    written: dict[str, Part] = {}
    with ExitStack() as files:
        lines: dict[Part, IO[bytes]] = {}
        tables: dict[Part, ParquetRows] = {}
        for row in rows:
            part = row.part
            if part not in lines:
                lines[part] = files.enter_context(writing(folder / f"{part}.jsonl"))
                tables[part] = files.enter_context(parquet_rows(folder / f"{part}.parquet", _PROMPT_SCHEMA))
                written |= {f"{part}.jsonl": part, f"{part}.parquet": part}
            lines[part].write(orjson.dumps(row.record, option=orjson.OPT_APPEND_NEWLINE))
            tables[part].add({"draft": None, "thinking": None, **row.record})
    return dict(sorted(written.items(), key=lambda item: PARTS.index(item[1])))


def _near_records(made: Publication) -> Iterator[dict[str, Any]]:
    """One line a near-duplicate: its text, the kept question's id and text, and how alike they are."""
    by_mark = {fingerprint(e.question.text): e.question for e in made.examples}
    texts = {fingerprint(question.text): question.text for grown in made.shards for question in grown.accepted}
    for match in made.near:
        kept = by_mark.get(match.kept)
        yield {
            "question": texts.get(match.key, ""),
            "kept_question_id": kept.question_id if kept else None,
            "kept": kept.text if kept else match.kept,
            "similarity": match.similarity,
        }


class ParquetRows:
    """Rows gathered into row groups, so that a table of any size needs the memory of one group."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._rows: list[dict[str, Any]] = []

    def add(self, record: dict[str, Any]) -> None:
        self._rows.append(record)
        if len(self._rows) >= _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


@contextmanager
def parquet_rows(path: Path, schema: pa.Schema) -> Iterator[ParquetRows]:
    """A Parquet file with nested columns, complete when the block ends."""
    with writing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rows = ParquetRows(writer, schema)
        yield rows
        rows.flush()


def write_checkpoint(folder: Path, number: int, questions: list[Question]) -> None:
    """questions_checkpoint_NNNN.jsonl: the next accepted questions, for people who look in while a run goes on."""
    write_jsonl(
        folder / f"questions_checkpoint_{number:04d}.jsonl",
        (_question_record(question, scores=True) for question in questions),
    )


def _question_record(question: Question, scores: bool) -> dict[str, Any]:
    judgement = question.judgement
    record: dict[str, Any] = {
        "question_id": question.question_id or None,
        "domain": question.cell.domain,
        "difficulty": str(question.cell.difficulty),
        "question": question.text,
        "metadata": {
            "generated_by": question.generated_by,
            "timestamp": question.timestamp,
            "topic": question.topic,
            "request_key": question.request_key,
        },
    }
    if scores and judgement is not None:
        record["scores"] = {
            "clarity": judgement.clarity,
            "relevance": judgement.relevance,
            "difficulty": judgement.difficulty,
            "quality": judgement.quality,
            "mean": round(judgement.mean, 3),
            "judged_by": judgement.judged_by,
        }
    return record


def _answer_record(example: Example) -> dict[str, Any]:
    record: dict[str, Any] = {"question_id": example.question.question_id, "answer": example.answer}
    if example.reasoning is not None:
        reasoning = example.reasoning
        record["reasoning"] = {
            "draft": reasoning.draft,
            "critique": reasoning.critique,
            "revised": reasoning.revised,
        }
    return {
        **record,
        "generated_by": example.answered_by,
        "verification": example.verification,
        "timestamp": example.timestamp,
    }


_TEXT = pa.string()
_SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("question_id", "domain", "difficulty", "question", "answer")),
        ("reasoning", pa.struct([("draft", _TEXT), ("critique", _TEXT), ("revised", _TEXT)])),
        (
            "metadata",
            pa.struct(
                [
                    *((name, _TEXT) for name in ("question_model", "answer_model")),
                    ("validated", pa.bool_()),
                    ("judge_mean", pa.float64()),
                    *(
                        (name, _TEXT)
                        for name in (
                            "verification",
                            "topic",
                            "question_request_key",
                            "judge_request_key",
                            "answer_request_key",
                            "timestamp",
                        )
                    ),
                ]
            ),
        ),
    ]
)
_PROMPT_SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("prompt", "draft", "thinking", "response")),
        (
            "metadata",
            pa.struct(
                [
                    *((name, _TEXT) for name in ("difficulty", "domain", "task_type", "complexity")),
                    ("requires_reasoning", pa.bool_()),
                    ("harm_category", _TEXT),
                    ("token_count", pa.int64()),
                    *((name, _TEXT) for name in ("teacher_model", "classified_by", "question_id")),
                ]
            ),
        ),
    ]
)
