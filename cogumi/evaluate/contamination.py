"""Contamination: training rows that hold a benchmark's questions.

    index = ContaminationIndex({"gsm8k": rows, ...})
    found = index.look(texts)                        # [Hit(row=17, source="gsm8k", key="...", how="13-gram")]

A row counts where it is a benchmark's question letter for letter (spacing and signs aside), where 13 words on end are
the same (Brown et al. 2020, appendix C), or where its text is near one: MinHash candidates (Broder 1997, by the rensa
library), verified by the exact Jaccard similarity of character 5-grams. Thirteen words that several benchmarks, or many
questions of one, share are their boilerplate, such as "which of the following statements is true", and are no sign.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cogumi.dataset.near_duplicates import jaccard, new_lsh, shingles, signature
from cogumi.evaluate.fingerprints import question_of
from cogumi.evaluate.row import BenchmarkRow, hash_of

WORDS = 13
_BOILERPLATE = 3
"""So many different questions share thirteen words only where they are asked in one form."""
_NEAR = 0.8
_WORD = re.compile(r"\w+")


class How(StrEnum):
    """By what a row was found; the first that holds, in this order."""

    EXACT = "exact"
    GRAM = "13-gram"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class Hit:
    """Training row number `row` holds the question `key` of `source`."""

    row: int
    source: str
    key: str
    how: How


class ContaminationIndex:
    """Of benchmark rows; training rows are looked up in it."""

    def __init__(self, sources: Mapping[str, Sequence[BenchmarkRow]]) -> None:
        self._rows = [row for rows in sources.values() for row in rows]
        self._exact = {hash_of(question_of(row)): place for place, row in enumerate(self._rows)}
        self._grams = _rare_grams((question_of(row), str(row.more.get("cluster") or row.key)) for row in self._rows)
        self._near = new_lsh(_NEAR)
        for place, row in enumerate(self._rows):
            self._near.insert(place, signature(shingles(question_of(row))))

    def look(self, texts: Iterable[tuple[str, str]]) -> list[Hit]:
        """At most one hit a row. Each is (prompt, response): the whole is searched for thirteen words, the prompt alone
        compared as a question.
        """
        found = ((number, self._one(*text)) for number, text in enumerate(texts))
        return [
            Hit(number, self._rows[hit[0]].source, self._rows[hit[0]].key, hit[1])
            for number, hit in found
            if hit is not None
        ]

    def _one(self, prompt: str, response: str) -> tuple[int, How] | None:
        place = self._exact.get(hash_of(prompt))
        if place is not None:
            return place, How.EXACT
        for gram in _grams(f"{prompt}\n{response}"):
            place = self._grams.get(gram)
            if place is not None:
                return place, How.GRAM
        text = shingles(prompt)
        for candidate in sorted(self._near.query(signature(text))):
            if jaccard(text, shingles(question_of(self._rows[candidate]))) >= _NEAR:
                return candidate, How.NEAR
        return None


def by_source(hits: Iterable[Hit]) -> dict[str, dict[str, int]]:
    """Training rows by benchmark and by what they were found."""
    counts: dict[str, Counter[str]] = {}
    for hit in hits:
        counts.setdefault(hit.source, Counter())[str(hit.how)] += 1
    return {source: dict(found) for source, found in sorted(counts.items())}


def _rare_grams(questions: Iterable[tuple[str, str]]) -> dict[int, int]:
    """Thirteen words on end, by hash, and the first question that has them; not those of many clusters of questions.
    The questions on one passage are a cluster: its words are theirs.
    """
    first: dict[int, int] = {}
    groups: list[str] = []
    others: dict[int, set[str]] = {}
    for place, (question, group) in enumerate(questions):
        groups.append(group)
        for gram in set(_grams(question)):
            held = first.setdefault(gram, place)
            if groups[held] != group:
                others.setdefault(gram, set()).add(group)
    for gram, more in others.items():
        if len(more) + 1 >= _BOILERPLATE:
            del first[gram]
    return first


def _grams(text: str) -> Iterator[int]:
    """Hashes of all runs of thirteen words, which hold for this process alone."""
    words = [hash(word) for word in _WORD.findall(text.casefold())]
    for start in range(len(words) - WORDS + 1):
        yield hash(tuple(words[start : start + WORDS]))
