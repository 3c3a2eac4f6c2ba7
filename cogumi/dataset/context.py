"""DatasetRun: what every step of the stage works with. One a process; the steps are plain functions of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cogumi.dataset.progress import Progress
from cogumi.dataset.route import Way
from cogumi.dataset.verify import Verdict, verify_answer
from cogumi.domain import Question
from cogumi.errors import CogumiError
from cogumi.recipe import Recipe, content_hash
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.types import Cache, Reply
from cogumi.teachers.wire_errors import WireError

if TYPE_CHECKING:
    from cogumi.teachers.preflight import Finding
    from cogumi.teachers.staff import Staff

Watcher = Callable[["DatasetRun"], None]
WATCHER: ContextVar[Watcher | None] = ContextVar("dataset-watcher", default=None)
"""Called with the run when it opens, in the caller's context: how a terminal gets at the progress inside a flow."""

Verify = Callable[[str, str, str], Awaitable[Verdict]]
"""(question, answer, topic) -> whether the answer is right."""

_HOW = {"workers", "delivery"}  # how calls are made, not what is asked
_MOST_WAITING = 100_000
STAGES = ("questions", "judge", "answers_easy", "answers_hard")


@dataclass(slots=True)
class DatasetRun:
    """Recipe, folder, teachers, progress, and the worker slots of each stage."""

    recipe: Recipe
    folder: RunFolder
    staff: Staff
    progress: Progress
    log: logging.Logger
    routes: dict[str, Way] = field(default_factory=dict)
    slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    accepted: list[Question] = field(default_factory=list)  # since the last checkpoint
    checkpoints: int = 0
    verify: Verify = verify_answer

    def __post_init__(self) -> None:
        self.slots = {stage: asyncio.Semaphore(self.at_once(stage)) for stage in STAGES}

    def at_once(self, stage: str) -> int:
        """How many calls of a stage may be open: its workers; where it goes by batch, as many as there are."""
        data = self.recipe.dataset
        workers = {
            "judge": data.judge.workers,
            "answers_easy": data.answers_easy.workers,
            "answers_hard": data.answers_hard.workers,
        }
        return _MOST_WAITING if self.batched(stage) else workers.get(stage, _MOST_WAITING)

    def batched(self, stage: str) -> bool:
        """Whether a stage goes through the batch API."""
        return self.routes.get(stage) == "batch"

    async def ask(
        self,
        stage: str,
        teacher: str,
        system: str,
        user: str,
        *,
        max_tokens: int,
        temperature: float | None,
        replica: int = 0,
        cache: Cache = "off",
        alone: bool = False,
    ) -> Reply | None:
        """One call within the stage's workers, or its part of a batch where the stage goes by batch and it is not
        asked `alone`; None where it failed for good and the run can go on without it.

        Raises what must stop the run: fatal wire errors, BudgetError, StorageError, too-many-failures.
        """
        async with self.slots[stage]:
            try:
                return await self.staff.ask(
                    teacher,
                    system,
                    user,
                    max_tokens=max_tokens,
                    temperature=temperature,
                    stage=stage,
                    replica=replica,
                    cache=cache,
                    batched=self.batched(stage) and not alone,
                )
            except WireError as error:
                self.log.warning("%s: call given up: %s", stage, error.code)
                if error.entry.fatal:
                    raise
                return None

    def questions_hash(self) -> str:
        """Identity of how questions are made: recipe sections and teachers, not where the provider listens."""
        data = self.recipe.dataset
        names = {data.questions.teacher, *data.questions.teacher_by_domain.values(), data.judge.teacher}
        teachers = {
            name: [self.recipe.teachers[name].label, self.recipe.teachers[name].model] for name in sorted(names)
        }
        sections = [
            data.questions.model_dump(mode="json", exclude=_HOW),
            data.judge.model_dump(mode="json", exclude=_HOW if data.judge.classify else {*_HOW, "classify"}),
        ]
        return content_hash([self.recipe.seed, sections, teachers])

    def answers_hash(self) -> str:
        """Identity of how answers are made."""
        data = self.recipe.dataset
        sections = [section.model_dump(mode="json", exclude=_HOW) for section in (data.answers_easy, data.answers_hard)]
        teachers = [self.recipe.teachers[name].model for name in (data.answers_easy.teacher, data.answers_hard.teacher)]
        return content_hash([self.recipe.seed, sections, teachers])


def stop_code(error: BaseException) -> str:
    """The code of an error for logs, or its type."""
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "interrupted"
    return error.code if isinstance(error, CogumiError) else type(error).__name__
