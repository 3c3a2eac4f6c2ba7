"""Near-duplicates: rows whose text is similar and whose numbers and answer are the same.

Similar text alone is no duplicate: a question with other numbers, or with another answer, is another question. (A blind
MinHash at 0.8 removed more than half of valid procedural rows; see docs/decisions/0006.) So rows are first put into
blocks that agree in what must agree, and texts are compared only inside a block: directly in small ones, among MinHash
candidates in large ones (Broder 1997; Leskovec et al., Mining of Massive Datasets, chapter 3; by the rensa library).
Every pair is verified by its exact Jaccard similarity before it counts.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
from rensa import RMinHash, RMinHashLSH

from cogumi.teachers.procedural import recognise

_SHINGLE = 5
_PERMUTATIONS = 128
_BANDS = 32
_SMALL_BLOCK = 24
_SHORT_ANSWER = 160
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_NEGATION = re.compile(
    r"\b(?:not|no|none|never|without|except|least|false|incorrect|wrong)\b|n't\b|n\u2019t\b", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")
_EDGE = " .?!\"'`*"


@dataclass(frozen=True, slots=True)
class Row:
    """A row to be compared: a key of the caller's, question and answer."""

    key: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Match:
    """Row `key` is a near-duplicate of the earlier row `kept`. `similarity`: exact Jaccard of character 5-grams, or 1
    for the same family and parameters.
    """

    key: str
    kept: str
    similarity: float


@dataclass(slots=True)
class _Block:
    """Rows that agree in numbers and answer. `lsh` is built when there are many."""

    members: list[tuple[str, str, str]] = field(default_factory=list)  # key, question, answer where it is long
    lsh: RMinHashLSH | None = None


class NearDuplicateIndex:
    """Rows are added in order; each is new, or a near-duplicate of one that was kept before it."""

    def __init__(self, threshold: float = 0.8) -> None:
        self.threshold = threshold
        self._blocks: dict[bytes, _Block] = {}
        self._families: dict[bytes, str] = {}
        self.rows = 0

    def add(self, rows: Iterable[Row]) -> list[Match]:
        """Add rows; returns a match for each that is a near-duplicate, which is then not kept."""
        return [match for row in rows if (match := self._add_one(row)) is not None]

    def size_bytes(self) -> int:
        """Memory of the index, an estimate from its parts: texts, keys, blocks, signatures."""
        size = sys.getsizeof(self._blocks) + sys.getsizeof(self._families)
        size += sum(sys.getsizeof(name) + sys.getsizeof(kept) for name, kept in self._families.items())
        for name, block in self._blocks.items():
            size += sys.getsizeof(name) + sys.getsizeof(block) + sys.getsizeof(block.members)
            size += sum(sys.getsizeof(member) + sum(map(sys.getsizeof, member)) for member in block.members)
            size += len(block.members) * (_PERMUTATIONS * 4 + _BANDS * 16) if block.lsh is not None else 0
        return size

    def _add_one(self, row: Row) -> Match | None:
        self.rows += 1
        task = recognise(row.question)
        if task is not None:
            name = _digest([task.family.name, task.params])
            kept = self._families.setdefault(name, row.key)
            return None if kept == row.key else Match(row.key, kept, 1.0)
        answer = plain(row.answer)
        is_long = len(answer) > _SHORT_ANSWER
        name = _digest([numbers(row.question), negations(row.question), numbers(answer) if is_long else answer])
        block = self._blocks.setdefault(name, _Block())
        match = self._look_in(block, row, answer if is_long else "")
        if match is None:
            self._keep(block, row, answer if is_long else "")
        return match

    def _look_in(self, block: _Block, row: Row, long_answer: str) -> Match | None:
        if not block.members:
            return None
        grams = shingles(row.question)
        best: Match | None = None
        for place in self._candidates(block, grams):
            key, question, answer = block.members[place]
            alike = jaccard(grams, shingles(question))
            if alike < self.threshold or (best is not None and alike <= best.similarity):
                continue
            if long_answer and jaccard(shingles(long_answer), shingles(answer)) < self.threshold:
                continue
            best = Match(row.key, key, round(alike, 4))
        return best

    def _candidates(self, block: _Block, grams: set[str]) -> Iterable[int]:
        if block.lsh is None:
            return range(len(block.members))
        return sorted(block.lsh.query(signature(grams)))

    def _keep(self, block: _Block, row: Row, long_answer: str) -> None:
        block.members.append((row.key, row.question, long_answer))
        if block.lsh is not None:
            block.lsh.insert(len(block.members) - 1, signature(shingles(row.question)))
        elif len(block.members) > _SMALL_BLOCK:
            block.lsh = new_lsh(self.threshold)
            for place, (_, question, _) in enumerate(block.members):
                block.lsh.insert(place, signature(shingles(question)))


def shingles(text: str) -> set[str]:
    """The character 5-grams of a text, case and spacing set aside; a shorter text is one shingle."""
    flat = _SPACE.sub(" ", text).strip().casefold()
    return {flat[start : start + _SHINGLE] for start in range(max(1, len(flat) - _SHINGLE + 1))}


def jaccard(one: set[str], other: set[str]) -> float:
    """|A and B| / |A or B|; sets whose sizes already rule out a likeness of 0.5 are not intersected."""
    small, large = sorted((len(one), len(other)))
    if not large or small < 0.5 * large:
        return 0.0
    shared = len(one & other)
    return shared / (small + large - shared)


def numbers(text: str) -> list[str]:
    """The multiset of numbers in a text, sorted."""
    return sorted(_NUMBER.findall(text))


def negations(text: str) -> list[str]:
    """The words that turn a question round, sorted: "watering" and "not watering" are two questions."""
    return sorted(found.casefold() for found in _NEGATION.findall(text))


def plain(text: str) -> str:
    """A text as it is compared: case, spacing and outer punctuation set aside."""
    return _SPACE.sub(" ", text).strip(_EDGE).casefold()


def new_lsh(threshold: float) -> RMinHashLSH:
    """An empty index of signatures for candidates of about so much likeness."""
    return RMinHashLSH(threshold, _PERMUTATIONS, _BANDS)


def signature(grams: set[str]) -> RMinHash:
    """MinHash of a set of shingles, as `new_lsh` takes it."""
    made = RMinHash(_PERMUTATIONS, 42)
    made.update(list(grams))
    return made


def _digest(value: object) -> bytes:
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=list), digest_size=12).digest()
