"""Plan: which shards must grow, which questions must be answered, until every cell holds exactly its count.

    plan = Plan.for_recipe(recipe)
    while not plan.done:
        plan.take_grown([await grow(run, order) for order in plan.to_grow()])
        plan.take_answered([await answer(run, order) for order in plan.to_answer()])

The loop is the same with and without Prefect; orders say all that a task needs, and name its cache key.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.near_duplicates import Match, NearDuplicateIndex, Row
from cogumi.dataset.settle import Settled, number_questions, settle
from cogumi.dataset.shards import Answered, Grown, Shard, given_shards, plan_shards
from cogumi.domain import Cell, Example, Question
from cogumi.errors import RunError
from cogumi.recipe import Recipe, content_hash

_MOST_PASSES = 12
_AUGMENTED = 90_000  # shard numbers from here on hold questions of public datasets


@dataclass(frozen=True, slots=True)
class GrowOrder:
    """Grow a shard, from nothing or (`start`) to replace what was lost; or judge questions that were `given`."""

    shard: Shard
    pass_number: int
    start: Grown | None = None
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
        start = self.start.to_json() if self.start else None
        given = [question.to_json() for question in self.given] if self.given is not None else None
        return content_hash([self.shard.to_json(), start, sorted(self.forbidden), self.more, given])


@dataclass(frozen=True, slots=True)
class AnswerOrder:
    """Answer questions of one shard."""

    shard: Shard
    pass_number: int
    questions: tuple[Question, ...]

    @property
    def name(self) -> str:
        return f"answer-{self.shard.name}" + (f"-more-{self.pass_number}" if self.pass_number else "")

    @property
    def key(self) -> str:
        return content_hash([question.to_json() for question in self.questions])


@dataclass(slots=True)
class Plan:
    """The state of a dataset run.

    Shards whose questions are `given` are judged and not asked for. A plan that is `only_given` answers what is left of
    them; in any other what they lack is asked for.
    """

    shards: list[Shard]
    given: dict[str, tuple[Question, ...]] = field(default_factory=dict)
    only_given: bool = False
    grown: dict[str, Grown] = field(default_factory=dict)
    answers: dict[str, Example] = field(default_factory=dict)  # by fingerprint of the question
    answered: list[Answered] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    passes: int = 0
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
            fingerprint(q.text) in self.answers for rows in settled.chosen.values() for q in rows
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
            grown = self.grown[name]
            own = frozenset(fingerprint(q.text) for q in grown.accepted)
            extra = len(grown.accepted) + lacking - grown.shard.rows
            start = Grown.from_json(grown.to_json())
            orders.append(GrowOrder(grown.shard, self.passes, start=start, forbidden=marks - own, more=max(1, extra)))
        return orders

    def take_grown(self, results: list[Grown]) -> None:
        """Note grown shards. Raises RunError cells-short where one stopped short of what was asked."""
        for grown in results:
            before = self.grown.get(grown.shard.name)
            if before is not None and len(grown.accepted) <= len(before.accepted):
                raise self.shortage()
            self.grown[grown.shard.name] = grown
            judged_only = grown.shard.name in self.given and before is None
            if not judged_only and len(grown.accepted) < grown.shard.rows:
                raise self.shortage()

    def to_answer(self) -> list[AnswerOrder]:
        """Chosen questions without an answer; none while a shard is still short."""
        settled = self.settled()
        if self._short(settled):
            return []
        orders = []
        for shard in self.shards:
            open_questions = tuple(q for q in settled.chosen[shard.name] if fingerprint(q.text) not in self.answers)
            if open_questions:
                orders.append(AnswerOrder(shard, self.passes, open_questions))
        return orders

    def take_answered(self, results: list[Answered]) -> None:
        """Note answers. What is kept of a row is kept once: its question stays that of its shard."""
        self._drop_near_duplicates(results)
        for answered in results:
            asked = {fingerprint(q.text): q for q in self.grown[answered.shard_name].accepted}
            for example in answered.examples:
                mark = fingerprint(example.question.text)
                self.answers[mark] = replace(example, question=asked[mark])
            self.failed.update(fingerprint(question.text) for question in answered.failed)
            self.answered.append(replace(answered, examples=[], failed=[]))
        self.passes += 1

    def settled(self) -> Settled:
        return settle([self.grown[shard.name] for shard in self.shards], self.failed, self.known)

    def examples(self) -> list[Example]:
        """The finished rows, numbered, in the order of cells."""
        grown = [self.grown[shard.name] for shard in self.shards]
        numbered = number_questions(self.settled(), grown)
        return [
            replace(self.answers[fingerprint(q.text)], question=q)
            for shard in self.shards
            for q in numbered[shard.name]
        ]

    def groups(self) -> dict[str, str]:
        """Fingerprint of each near-duplicate -> that of the row it is like."""
        return {match.key: match.kept for match in self.near}

    def expected(self) -> dict[str, int]:
        """Rows by cell: what the recipe asks for, or for given questions what was left of them."""
        counts: dict[str, int] = {}
        settled = self.settled()
        for shard in self.shards:
            rows = len(settled.chosen[shard.name]) if self.only_given else shard.rows
            counts[str(shard.cell)] = counts.get(str(shard.cell), 0) + rows
        return counts

    def shortage(self) -> RunError:
        """The error naming cells and counts."""
        grown = {name: len(value.accepted) for name, value in self.grown.items()}
        short = [f"{s.name}: {grown.get(s.name, 0)} of {s.rows}" for s in self.shards if grown.get(s.name, 0) < s.rows]
        return RunError("cells-short", ", ".join(short[:6]) or f"answers kept failing after {self.passes} passes")

    def _drop_near_duplicates(self, results: list[Answered]) -> None:
        """Rows that are near-duplicates of an earlier one count as failed, so that others take their place."""
        rows = (
            Row(fingerprint(example.question.text), example.question.text, example.answer)
            for answered in results
            for example in answered.examples
        )
        matches = self.index.add(rows)
        self.near += matches
        if self.drop_near:
            self.failed.update(match.key for match in matches)

    def _short(self, settled: Settled) -> dict[str, int]:
        return {} if self.only_given else settled.short


def _near(recipe: Recipe) -> dict[str, Any]:
    section = recipe.dataset.near_duplicates
    return {"index": NearDuplicateIndex(section.threshold), "drop_near": section.remove}
