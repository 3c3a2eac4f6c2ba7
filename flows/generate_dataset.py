"""Phase 1: questions, judgement, answers, one dataset with exact counts. Run the same request again and it resumes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from prefect import flow

from blocks.pinned_store import PinnedStore
from cogumi.dataset.context import DatasetRun
from cogumi.dataset.forecast import check_changes
from cogumi.dataset.given import write_quarantine
from cogumi.dataset.plan import Plan
from cogumi.dataset.request import DatasetRequest
from cogumi.dataset.requirements import check_keys
from cogumi.dataset.shards import Pointer
from cogumi.dataset.steps import (
    begin_answering,
    begin_growing,
    open_dataset_run,
    shards_at_once,
    take_answered,
    take_grown,
)
from cogumi.dataset.versions import open_plan
from cogumi.recipe import Recipe, content_hash
from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.teachers.keys import keys_given
from tasks.approval import approval
from tasks.dashboard import progress_artifact, show_results, tag_this_run, told_when_the_budget_is_reached
from tasks.dataset_tasks import (
    CURRENT,
    Bench,
    answer_questions,
    generate_questions,
    publish_dataset,
    publish_dataset_version,
)
from tasks.provider_limits import leased
from tasks.resources import credentials, open_versions, results_store, with_recipe_block
from tasks.scheduling import cancel_provider_batches, period_of_this_run, run_name
from tasks.termination import sigterm_heard


@flow(
    name="generate-dataset",
    flow_run_name=run_name,
    persist_result=False,
    retries=0,
    on_cancellation=[cancel_provider_batches],
)
async def generate_dataset(request: DatasetRequest) -> dict[str, Any]:
    """Make the dataset a request asks for; returns the stage's figures.

    A versioned dataset's run is named by the time it was scheduled for. Raises the library's errors with their codes;
    nothing is published unless every check has passed.
    """
    request = await with_recipe_block(request)
    request = request.named(period_of_this_run(Path(request.root)) if request.dataset else "")
    recipe = request.load()
    providers = sorted({f"provider:{teacher.label}" for teacher in recipe.teachers.values()})
    await asyncio.to_thread(tag_this_run, "dataset", f"run:{request.run}", *providers)
    with keys_given(await credentials(request)):
        check_keys(recipe)
        versions = await open_versions(request)
        request.read_questions(recipe)  # what cannot be read is said before anybody is asked to approve
        await check_changes(request, recipe, versions)
        await approval(request, recipe, versions)
        return await _generate(request, recipe, versions)


async def _generate(request: DatasetRequest, recipe: Recipe, versions: Versions | None) -> dict[str, Any]:
    given, told = request.read_questions(recipe), request.questions_told(recipe)
    root = Path(request.root)
    with RunFolder.open(root, request.run, recipe, request.command, change=request.change, questions=told) as folder:
        request.keep(folder.path)
        if given is not None:
            write_quarantine(folder.path / "quarantine.jsonl", given)
        store = await results_store(folder.path, request.results)
        async with (
            sigterm_heard(),
            leased(recipe, request.rate_share) as granted,
            open_dataset_run(granted, folder) as run,
            progress_artifact(run),
        ):
            plan = await open_plan(run, given, versions)
            CURRENT.set(Bench(run, plan, given))
            started = time.monotonic()
            with told_when_the_budget_is_reached():
                answers = await run_plan(plan, store)
            figures = await publish_dataset(started, answers)
        if versions is not None:
            await publish_dataset_version(versions, str(folder.path), folder.name, figures)
        report = await asyncio.to_thread(write_report, folder.path)
        await show_results(folder.name, report, folder.path / "report.html")
    return figures


async def run_plan(plan: Plan, store: PinnedStore) -> list[Pointer]:
    """Generate and answer, shard by shard as tasks, until the plan is done. Returns the pointers of all answers."""
    bench = CURRENT.get()
    run = bench.run
    sources: dict[str, Pointer] = {}
    pointers: list[Pointer] = []
    generate = generate_questions.with_options(result_storage=store)
    answer = answer_questions.with_options(result_storage=store)
    slots = asyncio.Semaphore(shards_at_once(run))
    while not plan.done:
        orders = plan.to_grow()
        bench.grow = {order.name: order for order in orders}
        begin_growing(run, orders)
        grown = await asyncio.gather(
            *(_within(slots, generate, o.name, _key(run, run.questions_hash(), o.key)) for o in orders)
        )
        sources.update(zip((order.shard.name for order in orders), grown, strict=True))
        await take_grown(run, plan, orders, grown)
        to_answer = plan.to_answer()
        bench.answer = {order.name: order for order in to_answer}
        begin_answering(run, to_answer)
        answered = await asyncio.gather(
            *(
                _within(slots, answer, o.name, _key(run, run.answers_hash(), o.key), sources[o.shard.name])
                for o in to_answer
            )
        )
        pointers += answered
        await take_answered(run, plan, to_answer, answered)
        plan.end_pass()
    return pointers


async def _within(slots: asyncio.Semaphore, task: Callable[..., Awaitable[Pointer]], *inputs: Any) -> Pointer:
    async with slots:
        return await task(*inputs)


def _key(run: DatasetRun, how: str, what: str) -> str:
    """A task's cache key: the run, how the stage works, and what this order holds."""
    return content_hash([str(run.folder.path), how, what])
