"""Exports: the JSONL files under the spec's names, Parquet, and a dataset card.

All of one artifact, written at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from cogumi.dataset.card import dataset_card
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.finished import FinishedShard
from cogumi.dataset.near_duplicates import Match
from cogumi.dataset.records import COMPLETE_SCHEMA, PROMPT_SCHEMA, answer_record, question_record
from cogumi.dataset.split import PARTS, Part
from cogumi.dataset.training_rows import RowCounts, TrainingRow, training_rows
from cogumi.domain import Cell, Difficulty, Question
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.recipe import DatasetSection
from cogumi.store.files import write_atomic, write_jsonl, writing

NEAR_DUPLICATES = "near_duplicates.jsonl"
_ROW_GROUP = 1000
AddRow = Callable[[dict[str, Any]], object]


def count_label(count: int) -> str:
    """60000 -> "60k", 800 -> "800", as the spec names its files."""
    return f"{count // 1000}k" if count >= 1000 and count % 1000 == 0 else str(count)


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything that one published dataset is made of. `facts` go into the card."""

    shards: Iterable[FinishedShard]
    cells: dict[str, int]  # rows by "domain/difficulty"
    near: list[Match]
    section: DatasetSection
    tokenizer: TrainingTokenizer
    facts: dict[str, Any]

    def groups(self) -> dict[str, str]:
        """Fingerprint of each near-duplicate -> that of the row it is like."""
        return {match.key: match.kept for match in self.near}

    def rows_of(self, difficulty: Difficulty) -> int:
        return sum(rows for cell, rows in self.cells.items() if Cell.parse(cell).difficulty is difficulty)


@dataclass(frozen=True, slots=True)
class Exported:
    """What each file is, by name, and what was counted while they were written."""

    files: dict[str, str]
    counted: RowCounts


def write_exports(folder: Path, made: Publication) -> Exported:
    """Write every file of the dataset artifact in one pass over its shards."""
    total = count_label(sum(made.cells.values()))
    easy, hard = (count_label(made.rows_of(difficulty)) for difficulty in (Difficulty.EASY, Difficulty.HARD))
    names = {
        f"questions_{total}.jsonl": "every question that passed the judge, spares included",
        f"questions_{total}_validated.jsonl": "the questions that were chosen, with their scores",
        f"answers_easy_{easy}.jsonl": "direct answers",
        f"answers_hard_{hard}.jsonl": "answers with draft, critique and revision",
        f"training_{total}_complete.jsonl": "questions with answers, the record of spec section 1.5",
        f"training_{total}_complete.parquet": "the same as Parquet",
    }
    counted, near, groups = RowCounts(), NearTexts.of(made.near), made.groups()
    *lines, parquet = names
    with ExitStack() as files:
        questions, validated, easy_rows, hard_rows, complete = (
            files.enter_context(jsonl_rows(folder / name)) for name in lines
        )
        table = files.enter_context(parquet_rows(folder / parquet, COMPLETE_SCHEMA))
        parts = _Parts(folder, files)
        for shard in made.shards:
            for question in shard.accepted:
                questions(question_record(question, scores=False))
                near.see(question)
            for example in shard.examples:
                record = example.to_record()
                validated(question_record(example.question, scores=True))
                (hard_rows if example.question.cell.difficulty is Difficulty.HARD else easy_rows)(
                    answer_record(example)
                )
                complete(record)
                table.add(record)
                near.see(example.question)
            for row in counted.watch(training_rows(shard.examples, groups, made.section, made.tokenizer)):
                parts.add(row)
    names |= {
        name: f"{part}: prompt, response and metadata, the record of section 1.12"
        for name, part in parts.names().items()
    }
    write_jsonl(folder / NEAR_DUPLICATES, near.records(made.near))
    names[NEAR_DUPLICATES] = "rows that were left out as near-duplicates, with the row that was kept"
    made.tokenizer.save(folder / "tokenizer")
    names["tokenizer/"] = f"the tokenizer of the token counts: {made.tokenizer.source}"
    splits: dict[str, str] = {part: name for name, part in parts.names().items() if name.endswith(".parquet")}
    facts = {**made.facts, "tokens": counted.tokens.total()}
    write_atomic(folder / "README.md", dataset_card(names, splits, made.cells, facts).encode())
    return Exported(names, counted)


class _Parts:
    """train, validation and test as JSONL and Parquet; a part's files are opened with its first row."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        self._folder = folder
        self._files = files
        self._lines: dict[Part, AddRow] = {}
        self._tables: dict[Part, ParquetRows] = {}

    def add(self, row: TrainingRow) -> None:
        part = row.part
        if part not in self._lines:
            self._lines[part] = self._files.enter_context(jsonl_rows(self._folder / f"{part}.jsonl"))
            table = parquet_rows(self._folder / f"{part}.parquet", PROMPT_SCHEMA)
            self._tables[part] = self._files.enter_context(table)
        self._lines[part](row.record)
        self._tables[part].add({"draft": None, "thinking": None, **row.record})

    def names(self) -> dict[str, Part]:
        """The part by file name."""
        return {f"{part}.{suffix}": part for part in PARTS if part in self._lines for suffix in ("jsonl", "parquet")}


@dataclass(slots=True)
class NearTexts:
    """Texts and ids of the questions that near-duplicate records name, gathered as the rows go by."""

    wanted: frozenset[str]
    texts: dict[str, str] = field(default_factory=dict)  # by fingerprint
    ids: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(matches: list[Match]) -> NearTexts:
        return NearTexts(frozenset(mark for match in matches for mark in (match.key, match.kept)))

    def see(self, question: Question) -> None:
        if not self.wanted or (mark := fingerprint(question.text)) not in self.wanted:
            return
        self.texts[mark] = question.text
        if question.question_id:
            self.ids[mark] = question.question_id

    def records(self, matches: list[Match]) -> Iterator[dict[str, Any]]:
        """One line a near-duplicate: its text, the kept question's id and text, and how alike they are."""
        for match in matches:
            yield {
                "question": self.texts.get(match.key, ""),
                "kept_question_id": self.ids.get(match.kept),
                "kept": self.texts.get(match.kept, match.kept),
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


@contextmanager
def jsonl_rows(path: Path) -> Iterator[AddRow]:
    """What adds a row to a JSONL file, which is complete when the block ends."""
    with writing(path) as file:
        yield lambda record: file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def write_checkpoint(folder: Path, number: int, questions: list[Question]) -> None:
    """questions_checkpoint_NNNN.jsonl: the next accepted questions, for people who look in while a run goes on."""
    write_jsonl(
        folder / f"questions_checkpoint_{number:04d}.jsonl",
        (question_record(question, scores=True) for question in questions),
    )
