"""Plan: which shards must grow, which questions must be answered, until every cell holds exactly its count.

    plan = Plan.for_recipe(recipe)
    while not plan.done:
        for order in plan.to_grow():
            plan.take_grown(*await grow(run, order))
        plan.check_grown()
        for order in plan.to_answer():
            plan.take_answered(*await answer(run, order))
        plan.end_pass()

The loop is the same with and without Prefect; orders say all that a task needs, and name its cache key. A plan holds
fingerprints and pointers; rows stay in their files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.finished import FinishedRows, ShardSource
from cogumi.dataset.near_duplicates import Match, NearDuplicateIndex, Row
from cogumi.dataset.settle import Settled, numbering, settle
from cogumi.dataset.shards import Answered, Grown, Pointer, Shard, given_shards, plan_shards
from cogumi.dataset.tally import AnswersTally, GrownTally, commonest
from cogumi.domain import Cell, Question
from cogumi.errors import RunError
from cogumi.recipe import Recipe, content_hash

_MOST_PASSES = 12
_MOST_SHOWN = 6
_AUGMENTED = 90_000  # shard numbers from here on hold questions of public datasets


@dataclass(frozen=True, slots=True)
class GrowOrder:
    """Grow a shard, from nothing or from `start` to replace what was lost; or judge questions that were `given`."""

    shard: Shard
    pass_number: int
    start: Pointer | None = None
    forbidden: frozenset[str] = frozenset()
    more: int = 0
    given: tuple[Question, ...] | None = None

    @property
    def name(self) -> str:
        if self.given is not None:
            return f"judge-{self.shard.name}"
        return f"generate-{self.shard.name}" + (f"-more-{self.pass_number}" if self.start else "")

    @property
    def key(self) -> str:
        start = self.start["sha256"] if self.start else None
        given = [question.to_json() for question in self.given] if self.given is not None else None
        return content_hash([self.shard.to_json(), start, sorted(self.forbidden), self.more, given])


@dataclass(frozen=True, slots=True)
class AnswerOrder:
    """Answer some questions of one shard: those of `source` with the fingerprints `marks`."""

    shard: Shard
    pass_number: int
    source: Pointer
    marks: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"answer-{self.shard.name}" + (f"-more-{self.pass_number}" if self.pass_number else "")

    @property
    def key(self) -> str:
        return content_hash([self.source["sha256"], self.marks])


@dataclass(slots=True)
class Plan:
    """The state of a dataset run.

    Shards whose questions are `given` are judged and not asked for. A plan that is `only_given` answers what is left of
    them; in any other what they lack is asked for.
    """

    shards: list[Shard]
    given: dict[str, tuple[Question, ...]] = field(default_factory=dict)  # until they are judged
    only_given: bool = False
    grown: dict[str, GrownTally] = field(default_factory=dict)
    answers: AnswersTally = field(default_factory=AnswersTally)
    failed: set[str] = field(default_factory=set)
    passes: int = 0
    stopped_short: bool = False  # a shard has fewer questions than were asked for, and no more rounds
    index: NearDuplicateIndex = field(default_factory=NearDuplicateIndex)
    drop_near: bool = True
    known: frozenset[str] = frozenset()
    balance: dict[str, Any] = field(default_factory=dict)  # what was left out of given questions, for the report
    near: list[Match] = field(default_factory=list)  # keys are fingerprints of questions

    @staticmethod
    def for_recipe(recipe: Recipe, augmented: dict[Cell, list[Question]] | None = None) -> Plan:
        """A plan for the recipe's cells; questions from public datasets fill the first shards of theirs."""
        shards, given = [], {}
        for shard, part in given_shards(augmented or {}, recipe.dataset.shard_rows, _AUGMENTED):
            shards.append(shard)
            given[shard.name] = part
        taken = {str(cell): len(questions) for cell, questions in (augmented or {}).items()}
        return Plan([*shards, *plan_shards(recipe.dataset, taken)], given, **_near(recipe))

    @staticmethod
    def for_questions(questions: list[Question], recipe: Recipe) -> Plan:
        """A plan over existing questions, split into shards by cell in the order given."""
        by_cell: dict[Cell, list[Question]] = {}
        for question in questions:
            by_cell.setdefault(question.cell, []).append(question)
        parts = list(given_shards(by_cell, recipe.dataset.shard_rows))
        given = {shard.name: part for shard, part in parts}
        return Plan([shard for shard, _ in parts], given, only_given=True, **_near(recipe))

    @property
    def done(self) -> bool:
        """Every chosen question has its answer. Raises RunError cells-short after too many passes."""
        if len(self.grown) < len(self.shards):
            return False
        settled = self.settled()
        finished = not self._short(settled) and all(
            mark in self.answers.marks for marks in settled.chosen.values() for mark in marks
        )
        if not finished and self.passes >= _MOST_PASSES:
            raise self.shortage()
        return finished

    def to_grow(self) -> list[GrowOrder]:
        """Shards without questions yet, else those that lost some."""
        if not self.grown:
            return [
                GrowOrder(shard, 0, forbidden=self.known, given=self.given.get(shard.name)) for shard in self.shards
            ]
        settled = self.settled()
        marks = frozenset(settled.marks | self.failed)
        orders = []
        for name, lacking in self._short(settled).items():
            tally = self.grown[name]
            extra = max(1, len(tally.marks) + lacking - tally.shard.rows)
            orders.append(GrowOrder(tally.shard, self.passes, tally.source, marks, extra))
        return orders

    def take_grown(self, grown: Grown, source: Pointer) -> None:
        """Note a grown shard."""
        name = grown.shard.name
        before = self.grown.get(name)
        judged_only = self.given.pop(name, None) is not None
        gained_nothing = before is not None and len(grown.accepted) <= len(before.marks)
        self.stopped_short |= gained_nothing or (not judged_only and len(grown.accepted) < grown.shard.rows)
        self.grown[name] = GrownTally.of(grown, source)

    def check_grown(self) -> None:
        """Every shard of this pass is noted. Raises RunError cells-short where one stopped short of what was asked."""
        if self.stopped_short:
            raise self.shortage()

    def to_answer(self) -> list[AnswerOrder]:
        """Chosen questions without an answer; none while a shard is still short."""
        settled = self.settled()
        if self._short(settled):
            return []
        orders = []
        for shard in self.shards:
            marks = tuple(mark for mark in settled.chosen[shard.name] if mark not in self.answers.marks)
            if marks:
                orders.append(AnswerOrder(shard, self.passes, self.grown[shard.name].source, marks))
        return orders

    def take_answered(self, answered: Answered, source: Pointer) -> None:
        """Note answers, in the order of the orders. A row that is a near-duplicate of an earlier one counts as failed,
        so that another takes its place.
        """
        rows = (Row(fingerprint(e.question.text), e.question.text, e.answer) for e in answered.examples)
        matches = self.index.add(rows)
        self.near += matches
        if self.drop_near:
            self.failed.update(match.key for match in matches)
        self.failed |= self.answers.add(answered, source)

    def end_pass(self) -> None:
        """Every order of this pass is done."""
        self.passes += 1

    def settled(self) -> Settled:
        return settle([self.grown[shard.name] for shard in self.shards], self.failed, self.known)

    def finished(self, folder: Path) -> FinishedRows:
        """The rows of a plan that is done, numbered, in the order of cells, from the shard files in `folder`."""
        settled = self.settled()
        numbers = numbering(settled, self.shards)
        sources = (
            ShardSource(
                shard.cell,
                self.grown[shard.name].source,
                tuple(self.answers.sources.get(shard.name, ())),
                tuple(settled.chosen[shard.name]),
                *numbers[shard.name],
            )
            for shard in self.shards
        )
        return FinishedRows(folder, tuple(sources))

    def expected(self) -> dict[str, int]:
        """Rows by cell: what the recipe asks for, or for given questions what was left of them."""
        counts: dict[str, int] = {}
        settled = self.settled()
        for shard in self.shards:
            rows = len(settled.chosen[shard.name]) if self.only_given else shard.rows
            counts[str(shard.cell)] = counts.get(str(shard.cell), 0) + rows
        return counts

    def rejected(self) -> Counter[str]:
        """Why questions and answers were not kept, by reason."""
        duplicates = sum(tally.duplicates for tally in self.grown.values()) + self.settled().duplicates
        reasons = Counter({"duplicate": duplicates, "near-duplicate": len(self.near)})
        for tally in self.grown.values():
            reasons += tally.rejected
        return reasons + self.answers.rejected

    def shortage(self) -> RunError:
        """The error naming cells, counts and the commonest reasons."""
        rows, lacking = Counter[str](), Counter[str]()
        short = self._short(self.settled())
        for shard in self.shards:
            rows[str(shard.cell)] += shard.rows
            lacking[str(shard.cell)] += short.get(shard.name, 0)
        cells = [f"{cell}: {rows[cell] - count:,} of {rows[cell]:,}" for cell, count in lacking.items() if count]
        if len(cells) > _MOST_SHOWN:
            cells[_MOST_SHOWN:] = [f"and {len(cells) - _MOST_SHOWN:,} more"]
        told = ", ".join(cells) or f"answers kept failing after {self.passes} passes"
        reasons = commonest(self.rejected())
        return RunError("cells-short", f"{told}; rejected most often: {reasons}" if reasons else told)

    def _short(self, settled: Settled) -> dict[str, int]:
        return {} if self.only_given else settled.short


def _near(recipe: Recipe) -> dict[str, Any]:
    section = recipe.dataset.near_duplicates
    return {"index": NearDuplicateIndex(section.threshold), "drop_near": section.remove}
