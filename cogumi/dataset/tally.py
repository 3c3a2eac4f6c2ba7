"""Tallies: what a plan remembers of shard files, so that a run of any size needs the memory of a few shards.

Questions and answers stay in the files; fingerprints, counts and pointers are kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.shards import Answered, Grown, Pointer, Shard

_MOST_REASONS = 3


def commonest(reasons: Counter[str]) -> str:
    """The most frequent reasons with their counts: "judge/quality: 40, duplicate: 3"; "" where there is none."""
    return ", ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common(_MOST_REASONS) if count)


@dataclass(frozen=True, slots=True)
class GrownTally:
    """A grown shard: where it lies, the fingerprints of its accepted questions in their order, and its counts."""

    shard: Shard
    source: Pointer
    marks: tuple[str, ...]
    rejected: Counter[str]
    missed: Counter[str]  # hidden questions that the judge got wrong, by kind
    duplicates: int
    asked: int
    hidden_right: int
    hidden_seen: int

    @staticmethod
    def of(grown: Grown, source: Pointer) -> GrownTally:
        return GrownTally(
            shard=grown.shard,
            source=source,
            marks=tuple(fingerprint(question.text) for question in grown.accepted),
            rejected=Counter(row.reason for row in grown.rejected),
            missed=Counter(grown.hidden_missed),
            duplicates=grown.duplicates,
            asked=grown.asked,
            hidden_right=grown.hidden_right,
            hidden_seen=grown.hidden_seen,
        )


@dataclass(slots=True)
class AnswersTally:
    """All answers so far: their files by shard, the fingerprints of answered questions, and why others failed."""

    sources: dict[str, list[Pointer]] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)
    rejected: Counter[str] = field(default_factory=Counter)
    asked_again: Counter[str] = field(default_factory=Counter)  # reason -> replies bought again

    def add(self, answered: Answered, source: Pointer) -> set[str]:
        """Note one result. Returns the fingerprints of the questions that could not be answered."""
        self.sources.setdefault(answered.shard_name, []).append(source)
        self.marks.update(fingerprint(example.question.text) for example in answered.examples)
        self.rejected.update(row.reason for row in answered.rejected)
        self.asked_again.update(answered.retried)
        return {fingerprint(question.text) for question in answered.failed}
