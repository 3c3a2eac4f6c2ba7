"""Replay: the dataset stage run against its own ledger, to know what it would buy. It sends nothing and writes nothing.

    found = await replay(recipe, folder, given, versions)
    found.middle.calls["judge", "judge"]      # calls that a run would make, by stage and teacher
    found.low, found.high                     # calls in all, of every draw

The same code decides as in a run: requests are made, and looked up by their keys. What has no reply yet is answered
from what the run's replies have been like so far (`history`), so that what follows from it is counted too. Such replies
are drawn several times over, from the run's rows and from samples of them, since a first draw may be a rare one.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import orjson

from cogumi.dataset.context import DatasetRun
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.given import Given
from cogumi.dataset.history import MIXINGS, CallHistory
from cogumi.dataset.progress import Progress
from cogumi.dataset.prompts import questions_asked_for, questions_to_judge
from cogumi.dataset.steps import fill
from cogumi.dataset.verify import Verdict, verify_answer
from cogumi.dataset.versions import open_plan
from cogumi.errors import RunError
from cogumi.recipe import Recipe
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.teachers.budget import Budget
from cogumi.teachers.staff import Staff, unsent_teachers
from cogumi.teachers.teacher import LedgeredTeacher
from cogumi.teachers.types import Cache, Reply, Request, Usage, request_key

DRAWS = 9
_MOST_CALLS = 6_000
"""A further draw is begun while those before it have made fewer calls in all, simulated or found in the ledger: about
ten seconds' worth. By a count, so that the same question has the same answer on a busy machine.
"""
_SIMULATED = "simulated reply"
_TAGS = "<thinking>\n[DRAFT] {0}\n[CRITIQUE] none\n[REVISED] {0}\n</thinking>\n<answer>{0}</answer>"


@dataclass(slots=True)
class Bought:
    """What a run would buy: calls by (stage, teacher), replies it would reuse, and the error it would stop with."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    reused: int = 0
    stops: RunError | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The draws of a replay: the one in the middle, and the fewest and the most calls of all."""

    middle: Bought
    low: int
    high: int
    draws: int


async def replay(
    recipe: Recipe, folder: RunFolder, given: Given | None, versions: Versions | None, draws: int = DRAWS
) -> Replayed:
    """What the run in `folder` would buy by this recipe, which is one as of the folder's format; `draws` at most, fewer
    for a large run. Raises as `open_plan`; StorageError of the ledger.
    """
    found, histories = list[Bought](), _Histories()
    while len(found) < draws and sum(bought.calls.total() + bought.reused for bought in found) < _MOST_CALLS:
        found.append(await _replay_once(recipe, folder, given, versions, histories, len(found)))
        if not found[0].calls:
            break  # nothing is drawn
    found.sort(key=lambda bought: bought.calls.total())
    low, high = (found[end].calls.total() for end in (0, -1))
    return Replayed(found[(len(found) - 1) // 2], low, high, len(found))


async def _replay_once(
    recipe: Recipe, folder: RunFolder, given: Given | None, versions: Versions | None, histories: _Histories, draw: int
) -> Bought:
    ledger = _UnwrittenLedger.view(folder.ledger_url, folder.name_in_ledger)
    try:
        with tempfile.TemporaryDirectory(prefix="cogumi-replay-") as place:
            pool = _ReplayPool(recipe, ledger, histories, draw)
            here = RunFolder(Path(place), folder.name, resumed=True, format=folder.format)
            run = DatasetRun(recipe, here, pool, Progress(), logging.getLogger("cogumi.dataset.replay"))
            run.verify = _verify_unless_simulated
            try:
                await fill(run, await open_plan(run, given, versions))
            except RunError as error:
                pool.bought.stops = error
            return pool.bought
    finally:
        ledger.close()


async def _verify_unless_simulated(question: str, answer: str, topic: str) -> Verdict:
    if answer.startswith(_SIMULATED):
        return "no-verifier"
    return await verify_answer(question, answer, topic)


class _UnwrittenLedger(Ledger):
    """A ledger to read; decisions are kept in memory, and what a run's ledger holds stays as it is."""

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}

    async def remember(self, name: str, value: Any) -> None:
        if super().recall(name) is None:
            self._kept.setdefault(name, orjson.loads(orjson.dumps(value)))

    def recall(self, name: str) -> Any | None:
        found = super().recall(name)
        return self._kept.get(name) if found is None else found


class _Histories:
    """What replies have been like, read once; each draw mixes the judge's rows in another way."""

    def __init__(self) -> None:
        self._read: CallHistory | None = None

    def of(self, ledger: Ledger, teachers: Iterable[LedgeredTeacher], draw: int) -> CallHistory:
        if self._read is None:
            self._read = CallHistory.of(ledger, {(t.provider, t.model): t.wire for t in teachers})
        found = self._read if draw == 0 else self._read.resampled(Random(draw))
        return replace(found, mixing=MIXINGS[draw % len(MIXINGS)])


class _ReplayPool(Staff):
    """Teachers that reply from the ledger, and simulate what it does not hold."""

    def __init__(self, recipe: Recipe, ledger: Ledger, histories: _Histories, draw: int) -> None:
        super().__init__(recipe, ledger, unsent_teachers(recipe, ledger), Budget(None))
        self.bought = Bought()
        self._histories, self._draw = histories, draw

    async def ask(
        self, name: str, system: str, user: str, *, max_tokens: int, temperature: float | None, stage: str,
        replica: int = 0, cache: Cache = "off", batched: bool = False,
    ) -> Reply:  # fmt: skip
        teacher = self.teachers[name]
        request = Request(teacher.model, system, user, max_tokens, temperature, replica, cache)
        key = request_key(teacher.provider, request)
        if self.ledger.has_reply(key):
            self.bought.reused += 1
            return await teacher.complete(request, stage)
        self.bought.calls[stage, name] += 1
        return self._simulated(stage, request, key)

    @cached_property
    def _history(self) -> CallHistory:
        return self._histories.of(self.ledger, self.teachers.values(), self._draw)

    @cached_property
    def _lengths(self) -> dict[str, list[int]]:
        return {stage: list(answers.tokens.values()) for stage, answers in self._history.answering.items()}

    def _simulated(self, stage: str, request: Request, key: str) -> Reply:
        rng = Random(f"{self._draw}/{key}" if self._draw else key)
        if stage == "questions":
            rows = self._questions(request.user, key, rng)
        elif stage == "judge":
            rows = self._verdicts(request.user, rng)
        else:
            return self._answer(stage, request, key, rng)
        whole = self._history.fitting(stage, len(rows), request.max_tokens, rng)
        text, finish = orjson.dumps(rows[:whole]).decode(), "length" if whole < len(rows) else "stop"
        return Reply(text, finish, Usage(), request.model, request_key=key)  # type: ignore[arg-type] # one of Finish

    def _questions(self, user: str, key: str, rng: Random) -> list[dict[str, Any]]:
        domain, difficulty, count = questions_asked_for(user) or ("", "", 1)
        kinds = self._history.yield_of(f"{domain}/{difficulty}").draw(rng, count)
        return [
            {"question": f"{_SIMULATED} {key}-{number}" if kind == "fresh" else "", "topic": "simulated"}
            for number, kind in enumerate(kinds)
        ]

    def _verdicts(self, user: str, rng: Random) -> list[dict[str, Any]]:
        questions = questions_to_judge(user)
        scored = self._history.scored([number for number, *_ in questions], rng)
        return [
            {**self._history.verdict(text, f"{domain}/{difficulty}", rng), "id": number}
            for number, domain, difficulty, text in questions
            if number in scored
        ]

    def _answer(self, stage: str, request: Request, key: str, rng: Random) -> Reply:
        """Cut where this question's answer, or another's, was longer; asked again as often as others were."""
        answers, lengths = self._history.answering.get(stage), self._lengths.get(stage)
        tokens = answers.tokens.get(fingerprint(request.user)) if answers else None
        if tokens is None and lengths:
            tokens = rng.choice(lengths)
        if tokens is not None and tokens > request.max_tokens:
            return Reply("", "length", Usage(), request.model, request_key=key)
        kept = answers is None or rng.random() >= answers.again
        text = f"{_SIMULATED} {key}" if kept else ""
        text = _TAGS.format(text) if stage == "answers_hard" and kept else text
        return Reply(text, "stop", Usage(), request.model, request_key=key)
