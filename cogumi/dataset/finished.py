"""FinishedRows: the rows of a finished plan, read from shard files anew at each pass, one shard in memory at a time.

for example in rows: ...          # numbered examples, in the order of cells
for shard in rows.shards(): ...   # with every question the shard had accepted
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.shards import Pointer, read_answered, read_grown
from cogumi.domain import Cell, Example, Question


@dataclass(frozen=True, slots=True)
class FinishedShard:
    """What one shard adds to the dataset: `examples` are published, `accepted` holds their questions and spares."""

    accepted: list[Question]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class ShardSource:
    """Where a shard's rows lie, which are chosen (fingerprints, in order), and how they are numbered."""

    cell: Cell
    grown: Pointer
    answers: tuple[Pointer, ...]
    chosen: tuple[str, ...]
    first: int
    digits: int

    def question_id(self, place: int) -> str:
        """ "coding_easy_0001" for the first chosen question of a cell."""
        return f"{self.cell.domain}_{self.cell.difficulty}_{self.first + place:0{self.digits}d}"


@dataclass(frozen=True, slots=True)
class FinishedRows:
    """Rows by shard. Every pass raises StorageError shard-damaged where a file is not what was written."""

    folder: Path
    sources: tuple[ShardSource, ...]

    def __len__(self) -> int:
        return sum(len(source.chosen) for source in self.sources)

    def __iter__(self) -> Iterator[Example]:
        for shard in self.shards():
            yield from shard.examples

    def shards(self) -> Iterator[FinishedShard]:
        """Shard by shard, in the order of cells."""
        return map(self._read, self.sources)

    def _read(self, source: ShardSource) -> FinishedShard:
        accepted = read_grown(self.folder, source.grown).accepted
        asked = {fingerprint(question.text): question for question in accepted}
        answers = {
            fingerprint(example.question.text): example
            for pointer in source.answers
            for example in read_answered(self.folder, pointer).examples
        }
        examples = [
            replace(answers[mark], question=asked[mark].numbered(source.question_id(place)))
            for place, mark in enumerate(source.chosen)
        ]
        return FinishedShard(accepted, examples)
