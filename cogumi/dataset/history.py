"""CallHistory: what a run's replies say about replies that are still to come: yields, verdicts, lengths, repeats.

    history = CallHistory.of(ledger, teachers)
    history.verdict("Is 7 prime?", "math/easy", rng)    # the judge's row for this text, or one of the cell's

It reads the requests and replies in the ledger, and asks nobody.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal

import orjson

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.parse import parse_questions, parse_verdicts
from cogumi.dataset.prompts import questions_asked_for, questions_to_judge
from cogumi.store.ledger import Ledger
from cogumi.teachers.teacher import Wire
from cogumi.teachers.types import Reply
from cogumi.teachers.wire_errors import WireError

_PASSING = {"clarity": 9, "relevance": 9, "difficulty": 9, "quality": 9}
_FAILING = {"clarity": 1, "relevance": 1, "difficulty": 1, "quality": 1}
_PASS_RATE = 0.9
"""Of a judge that has scored nothing yet."""
_CRITERIA = tuple(_PASSING)
Mixing = Literal["level", "row", "side"]
"""Where the scores of a row that is made up come from, one by one: rows of its mean, or all rows on its side of the
middle; "row": mostly all four from one row. Which is right depends on how far a judge's criteria go together.
"""
MIXINGS: tuple[Mixing, ...] = ("level", "row", "side")
_WHOLE_ROWS = 0.75
_GOOD = 7
_BORROWED = 10
"""Rows of all cells that count beside a cell's own: a cell of few rows says little."""


@dataclass(slots=True)
class Yield:
    """What the question replies of a cell held: rows by kind (fresh, duplicate, broken), of as many as were asked."""

    asked: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def draw(self, rng: Random, count: int) -> list[str]:
        """The kinds of the rows in a reply to a call for `count` questions."""
        if not self.asked or not self.kinds:
            return ["fresh"] * count
        rows = round(count * self.kinds.total() / self.asked)
        return rng.choices(list(self.kinds), list(self.kinds.values()), k=rows)


@dataclass(slots=True)
class Answering:
    """Whole answers of a stage: tokens by question, and how many requests they were replies to."""

    tokens: dict[str, int] = field(default_factory=dict)
    whole: int = 0
    requests: set[bytes] = field(default_factory=set)

    @property
    def again(self) -> float:
        """Share of whole replies that were not kept (wrong, or without tags), so that the same was asked again."""
        return 1 - len(self.requests) / self.whole if self.whole else 0.0


@dataclass(slots=True)
class CallHistory:
    """Tallies over a run's replies."""

    yields: dict[str, Yield] = field(default_factory=dict)
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    pools: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    alike: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # rows of all cells by their mean, rounded
    unscored: list[float] = field(default_factory=list)  # share of its questions that each judge reply left out
    answering: dict[str, Answering] = field(default_factory=dict)
    row_tokens: dict[str, list[float]] = field(default_factory=dict)  # by stage, of each reply: tokens for each row
    mixing: Mixing = "level"

    @staticmethod
    def of(ledger: Ledger, wires: Mapping[tuple[str, str], Wire]) -> CallHistory:
        """Read every reply of a run once.

        Args:
            wires: how replies are read, by (provider, model); those of others are left out.
        """
        history, seen = CallHistory(), set[str]()
        judged: list[tuple[str, str, dict[str, Any]]] = []
        for row in ledger.rows("stage", "state", "provider", "model", "request", "reply"):
            wire = wires.get((row["provider"], row["model"]))
            reply = None if wire is None or row["state"] != "received" else _read(wire, row)
            if reply is None:
                continue
            user = _user_text(row["request"])
            if row["stage"] == "questions":
                history._add_questions(user, reply, seen)
            elif row["stage"] == "judge":
                judged += history._judged(user, reply)
            else:
                history._add_answer(row["stage"], user, row["request"], reply)
        history._add_verdicts(judged, seen)
        return history

    def yield_of(self, cell: str) -> Yield:
        """Of the cell; of all cells where it has none yet."""
        return self.yields.get(cell) or self.yields.get("") or Yield()

    def verdict(self, text: str, cell: str, rng: Random) -> dict[str, Any]:
        """The row that the judge gave this text, or one made of those that it gave others of the cell.

        Its scores are those of rows alike in any cell, since a cell has too few to show rare means; `mixing` says how
        far criteria are taken to go together.
        """
        known = self.verdicts.get(fingerprint(text))
        if known is not None:
            return known
        own, every = self.pools.get(cell, []), self.pools.get("", [])
        if not every:
            return _PASSING if rng.random() < _PASS_RATE else _FAILING
        row = rng.choice(own if rng.random() * (len(own) + _BORROWED) < len(own) else every)
        near = self._side(row) if self.mixing == "side" else self.alike[_level(row)]
        if self.mixing == "row" and rng.random() < _WHOLE_ROWS:
            other = rng.choice(near)
            return {**row, **{name: other[name] for name in _CRITERIA}}
        return {**row, **{name: rng.choice(near)[name] for name in _CRITERIA}}

    def fitting(self, stage: str, count: int, max_tokens: int, rng: Random) -> int:
        """How many of `count` rows a reply of a stage holds before it is cut, by what rows have taken in another."""
        sizes = self.row_tokens.get(stage)
        return min(count, int(max_tokens / rng.choice(sizes))) if sizes else count

    def _add_size(self, stage: str, rows: int, reply: Reply) -> None:
        if rows and reply.usage.completion:
            self.row_tokens.setdefault(stage, []).append(reply.usage.completion / rows)

    def _side(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of all cells on the same side of the middle: good ones, or bad ones."""
        good = _level(row) >= _GOOD
        return [other for level, rows in self.alike.items() if (level >= _GOOD) == good for other in rows]

    def resampled(self, rng: Random) -> CallHistory:
        """As if the judge's rows had been another sample of as many (bootstrap), which shows how little they say."""
        pools = {cell: rng.choices(rows, k=len(rows)) for cell, rows in self.pools.items() if cell}
        every = [row for rows in pools.values() for row in rows]
        alike: dict[int, list[dict[str, Any]]] = {}
        for row in every:
            alike.setdefault(_level(row), []).append(row)
        return replace(self, pools={**pools, "": every}, alike=alike)

    def scored(self, numbers: list[int], rng: Random) -> list[int]:
        """The questions of a judge call that its reply scores; the others are asked about once more."""
        share = rng.choice(self.unscored) if self.unscored else 0.0
        left_out = set(rng.sample(numbers, round(share * len(numbers))))
        return [number for number in numbers if number not in left_out]

    def _add_questions(self, user: str, reply: Reply, seen: set[str]) -> None:
        asked = questions_asked_for(user)
        if asked is None:
            return
        domain, difficulty, count = asked
        parsed = parse_questions(reply.text)
        self._add_size("questions", len(parsed), reply)
        for name in (f"{domain}/{difficulty}", ""):
            self.yields.setdefault(name, Yield()).asked += count
        for row in parsed:
            mark = fingerprint(row.text)
            kind = "broken" if row.reason else "duplicate" if mark in seen else "fresh"
            seen.add(mark)
            for name in (f"{domain}/{difficulty}", ""):
                self.yields[name].kinds[kind] += 1

    def _judged(self, user: str, reply: Reply) -> list[tuple[str, str, dict[str, Any]]]:
        """(cell, text, row) of each question that a judge's reply scores."""
        asked, found = questions_to_judge(user), parse_verdicts(reply.text)
        if not asked:
            return []
        self._add_size("judge", len(found), reply)
        self.unscored.append(sum(number not in found for number, *_ in asked) / len(asked))
        return [
            (f"{domain}/{difficulty}", text, {**found[number].row, **found[number].scores})
            for number, domain, difficulty, text in asked
            if number in found
        ]

    def _add_verdicts(self, judged: list[tuple[str, str, dict[str, Any]]], generated: set[str]) -> None:
        """Hidden questions have verdicts too, and are no sample of what is generated."""
        for cell, text, verdict in judged:
            mark = fingerprint(text)
            self.verdicts[mark] = verdict
            if mark in generated:
                self.pools.setdefault(cell, []).append(verdict)
                self.pools.setdefault("", []).append(verdict)
                self.alike.setdefault(_level(verdict), []).append(verdict)

    def _add_answer(self, stage: str, user: str, request: bytes, reply: Reply) -> None:
        answering = self.answering.setdefault(stage, Answering())
        if reply.finish == "stop":
            answering.whole += 1
            answering.requests.add(hashlib.sha256(request).digest())
            answering.tokens[fingerprint(user)] = reply.usage.completion


def _level(verdict: Mapping[str, Any]) -> int:
    return round(sum(float(verdict[name]) for name in _CRITERIA) / len(_CRITERIA))


def _read(wire: Wire, row: dict[str, Any]) -> Reply | None:
    try:
        return wire.decode(row["reply"] or b"", row["model"])
    except WireError:
        return None


def _user_text(request: bytes) -> str:
    """The last message of a request in either wire format."""
    content = orjson.loads(request)["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)
