"""The dataset stage's tasks: one a shard. Retries re-enter the ledger, so none of them buys anything twice."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from blocks.pinned_store import PLAIN_JSON
from cogumi.dataset.context import DatasetRun
from cogumi.dataset.given import Given
from cogumi.dataset.plan import AnswerOrder, GrowOrder, Plan
from cogumi.dataset.shards import Pointer
from cogumi.dataset.steps import answer, grow, publish
from cogumi.dataset.versions import publish_version
from cogumi.store.versions import Versions
from tasks.caching import cache_policy, may_pass_with_time


@dataclass(slots=True)
class Bench:
    """The open run of this process, and the orders its tasks name.

    Orders stay out of the tasks' parameters: they are large.
    """

    run: DatasetRun
    plan: Plan
    given: Given | None
    grow: dict[str, GrowOrder] = field(default_factory=dict)
    answer: dict[str, AnswerOrder] = field(default_factory=dict)


CACHED = cache_policy()
CURRENT: ContextVar[Bench] = ContextVar("dataset-bench")


@task(
    name="generate-questions",
    task_run_name="{order}",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=may_pass_with_time,
    cache_policy=CACHED,
    persist_result=True,
    result_serializer=PLAIN_JSON,
)
async def generate_questions(order: str, key: str) -> Pointer:
    """Grow one shard until enough of its questions have passed."""
    bench = CURRENT.get()
    return await grow(bench.run, bench.grow[order])


@task(
    name="answer-questions",
    task_run_name="{order}",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=may_pass_with_time,
    cache_policy=CACHED,
    persist_result=True,
    result_serializer=PLAIN_JSON,
)
async def answer_questions(order: str, key: str, questions: Pointer) -> Pointer:
    """Answer one shard's chosen questions; `questions` is the pointer they were grown under, which draws the
    graph's edge.
    """
    bench = CURRENT.get()
    return await answer(bench.run, bench.answer[order])


@task(name="publish-version", persist_result=False, cache_policy=NO_CACHE)
async def publish_dataset_version(versions: Versions, folder: str, run: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Publish the run's dataset as the next version, and tell whoever waits for new ones."""
    told = await asyncio.to_thread(publish_version, versions, Path(folder), run)
    resource = {
        "prefect.resource.id": f"cogumi.dataset.{versions.name}",
        "prefect.resource.name": versions.name,
        # A trigger that trains on new datasets leaves those of a pipeline to it.
        "cogumi.taken-further-by": "a pipeline" if runtime.flow_run.parent_flow_run_id else "nobody",
    }
    emit_event(
        event="cogumi.dataset.ready",
        resource=resource,
        payload={"version": told["version"], "run": run, "rows": figures["rows"]},
    )
    return told


@task(name="publish-dataset", persist_result=False, cache_policy=NO_CACHE)
async def publish_dataset(started: float, answers: list[Pointer]) -> dict[str, Any]:
    """Merge, check, export and publish; the pointers draw the graph's edges."""
    bench = CURRENT.get()
    return await asyncio.to_thread(publish, bench.run, bench.plan, bench.given, started)
