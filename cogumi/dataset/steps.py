"""The steps of the dataset stage, each a plain function of the run; Prefect tasks wrap these, and so does
`generate`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cogumi.dataset.answers import answer_questions
from cogumi.dataset.context import WATCHER, DatasetRun, stop_code
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.estimate import estimate, needs_of, routes_of
from cogumi.dataset.export import Publication, write_checkpoint, write_exports
from cogumi.dataset.figures import stage_figures
from cogumi.dataset.given import Given
from cogumi.dataset.grow import grow_shard, judge_given
from cogumi.dataset.lost_ledger import is_lost_file, refuse_without_ledger
from cogumi.dataset.merge import Merge
from cogumi.dataset.plan import AnswerOrder, GrowOrder, Plan
from cogumi.dataset.progress import Progress
from cogumi.dataset.route import Way
from cogumi.dataset.shards import Grown, Pointer, load_answered, load_grown, read_answered, read_grown, save
from cogumi.dataset.tally import commonest
from cogumi.dataset.training_rows import open_tokenizer
from cogumi.domain import Difficulty, Question
from cogumi.errors import RunError
from cogumi.phases import report_phase
from cogumi.recipe import Recipe, as_of_format, content_hash, hash_all
from cogumi.recipe.changes import same_export
from cogumi.store.artifacts import held_metrics, new_artifact, read_receipt
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import RunFolder, read_run
from cogumi.teachers.preflight import preflight, refuse
from cogumi.teachers.staff import open_staff

_FEW_SHARDS, _MOST_SHARDS = 8, 200
_LEVELS = {"ok": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_CARD_FIGURES = ("judge_accuracy", "judge_hidden", "cost_usd", "at_risk_usd", "near_duplicates", "harm_filtered")


@asynccontextmanager
async def open_dataset_run(recipe: Recipe, folder: RunFolder) -> AsyncIterator[DatasetRun]:
    """Open ledger, teachers and log of a run; close them whatever happens."""
    recipe = as_of_format(recipe, read_run(folder.path)["recipe"], folder.format)
    log, handler = _open_log(folder.path / "generation_log.txt")
    report_phase("opening the ledger")
    if is_lost_file(folder.path):  # opening it would make an empty one
        raise RunError("ledger-missing", folder.name)
    ledger = Ledger.open(folder.ledger_url, folder.name_in_ledger)
    try:
        refuse_without_ledger(folder, ledger)
        report_phase("preflight of the teachers")
        expected = estimate(recipe, ledger)
        findings = await preflight(recipe, needs_of(expected)) if recipe.preflight else []
        for finding in findings:
            log.log(_LEVELS[finding.level], "preflight %s: %s: %s", finding.teacher, finding.code, finding.text)
        refuse(findings)
        async with open_staff(recipe, ledger, folder.path) as staff:
            log.info(
                "run %s %s: %d replies in the ledger",
                folder.name,
                "resumed" if folder.resumed else "started",
                ledger.replies,
            )
            try:
                run = DatasetRun(recipe, folder, staff, Progress(), log, await settled_routes(recipe, ledger, expected))
                run.findings = findings
                if watch := WATCHER.get():
                    watch(run)
                yield run
                log.info("run %s done", folder.name)
            except BaseException as error:
                level = logging.ERROR if isinstance(error, Exception) else logging.INFO
                log.log(level, "run %s stopped: %s", folder.name, stop_code(error))
                raise
    finally:
        ledger.close()
        log.removeHandler(handler)
        handler.close()


async def settled_routes(recipe: Recipe, ledger: Ledger, expected: dict[str, Any]) -> dict[str, Way]:
    """How each stage is delivered. Decided once a run: a resumed one goes the way that it has begun."""
    name = f"routes/{content_hash({stage: s.delivery for stage, s in recipe.dataset.stages.items()})}"
    await ledger.remember(name, routes_of(expected))
    routes: dict[str, Way] = ledger.recall(name)  # type: ignore[assignment] # just kept
    return routes


async def grow(run: DatasetRun, order: GrowOrder) -> Pointer:
    """Grow or judge one shard and save the result; the pointer says where."""
    start = read_grown(run.folder.shards, order.start) if order.start else None
    had = len(start.accepted) if start else 0
    if order.given is not None:
        grown = await judge_given(run, order.shard, order.given)
    else:
        grown = await grow_shard(run, order.shard, start, order.forbidden, order.more)
    pointer = await asyncio.to_thread(save, run.folder.shards / f"{order.name}.json", grown)
    _checkpoint(run, grown.accepted[had:])
    return {**pointer, "accepted": len(grown.accepted), "asked": grown.asked}


async def answer(run: DatasetRun, order: AnswerOrder) -> Pointer:
    """Answer one shard's questions and save the result; the pointer says where."""
    asked = {fingerprint(q.text): q for q in read_grown(run.folder.shards, order.source).accepted}
    answered = await answer_questions(run, order.name, [asked[mark] for mark in order.marks])
    pointer = await asyncio.to_thread(save, run.folder.shards / f"{order.name}.json", answered)
    return {**pointer, "answered": len(answered.examples), "failed": len(answered.failed)}


async def generate(run: DatasetRun, plan: Plan, given: Given | None = None) -> dict[str, Any]:
    """The whole stage in this process: the same loop as the flow's, without Prefect. Returns the stage's figures."""
    started = time.monotonic()
    await fill(run, plan)
    return publish(run, plan, given, started)


async def fill(run: DatasetRun, plan: Plan) -> None:
    """Question and answer until the plan is done. Raises RunError cells-short, too-many-failures."""
    while not plan.done:
        orders = plan.to_grow()
        begin_growing(run, orders)
        await take_grown(run, plan, orders, await bounded(run, [partial(grow, run, order) for order in orders]))
        to_answer = plan.to_answer()
        begin_answering(run, to_answer)
        await take_answered(
            run, plan, to_answer, await bounded(run, [partial(answer, run, order) for order in to_answer])
        )
        plan.end_pass()


def shards_at_once(run: DatasetRun) -> int:
    """How many shards are worked on at a time: few, since every open row takes memory; all of them where batches are
    used, since a batch holds what is there when it is sent, and a day goes by before the next.
    """
    return _MOST_SHARDS if "batch" in run.routes.values() else _FEW_SHARDS


async def bounded(run: DatasetRun, works: list[Callable[[], Awaitable[Pointer]]]) -> list[Pointer]:
    """The results of all works in their order, a few at a time."""
    slots = asyncio.Semaphore(shards_at_once(run))

    async def one(work: Callable[[], Awaitable[Pointer]]) -> Pointer:
        async with slots:
            return await work()

    return await asyncio.gather(*(one(work) for work in works))


def begin_growing(run: DatasetRun, orders: list[GrowOrder]) -> None:
    wanted = sum(len(o.given) if o.given is not None else (o.more if o.start else o.shard.rows) for o in orders)
    if wanted:
        run.progress.begin("questions", wanted)


def begin_answering(run: DatasetRun, orders: list[AnswerOrder]) -> None:
    for difficulty in Difficulty:
        count = sum(len(order.marks) for order in orders if order.shard.cell.difficulty is difficulty)
        if count:
            run.progress.begin(f"answers_{difficulty}", count)


async def take_grown(run: DatasetRun, plan: Plan, orders: list[GrowOrder], pointers: list[Pointer]) -> None:
    """Note the shards behind the pointers, one in memory at a time. A file that is gone or damaged since an earlier
    session is made again from the ledger, at no cost; a shard that was given up goes on where more rounds are allowed.

    Raises RunError cells-short.
    """
    for order, pointer in zip(orders, pointers, strict=True):
        grown = load_grown(run.folder.shards, pointer)
        if grown is None or _has_rounds_left(run, order, grown):
            pointer = await grow(run, order)
            grown = read_grown(run.folder.shards, pointer)
        plan.take_grown(grown, pointer)
    plan.check_grown()


def _has_rounds_left(run: DatasetRun, order: GrowOrder, grown: Grown) -> bool:
    """Whether a shard is short and `max_rounds` allows more: its result is of a session that allowed fewer."""
    short = order.given is None and len(grown.accepted) < order.shard.rows + order.more
    return short and grown.rounds < run.recipe.dataset.max_rounds


async def take_answered(run: DatasetRun, plan: Plan, orders: list[AnswerOrder], pointers: list[Pointer]) -> None:
    """As `take_grown`, for answers."""
    for order, pointer in zip(orders, pointers, strict=True):
        answered = load_answered(run.folder.shards, pointer)
        if answered is None:
            pointer = await answer(run, order)
            answered = read_answered(run.folder.shards, pointer)
        plan.take_answered(answered, pointer)


def publish(run: DatasetRun, plan: Plan, given: Given | None, started: float) -> dict[str, Any]:
    """Merge, check, export and publish the dataset as one artifact; returns the stage's figures for the report.

    A complete artifact of the same rows that this recipe would publish alike is verified and kept as it is.
    """
    report_phase("merge of the shards")
    rows, merged = plan.finished(run.folder.shards), Merge()
    inputs = hash_all(example.content() for example in merged.watch(rows))
    receipt = read_receipt(run.folder.dataset)
    if receipt is not None and same_export(receipt["recipe"], run.recipe.dataset):
        held = held_metrics(run.folder.dataset, inputs)
        if held is not None:
            return held
    if not len(rows):
        raise RunError("no-rows", _commonest_reason(plan, given))
    cells = merged.check(plan.expected())
    recipe = run.recipe
    report_phase("tokenizer")
    tokenizer = open_tokenizer(recipe.dataset, rows, len(rows))
    figures = stage_figures(run, plan, given, merged, time.monotonic() - started)
    figures["tokenizer"] = {"source": tokenizer.source, "vocab_size": tokenizer.vocab_size}
    facts = {
        "name": run.folder.name,
        "purpose": recipe.purpose,
        "rehearsal": recipe.rehearsal,
        "pass_mean": recipe.dataset.judge.pass_mean,
        "terms": {teacher.label: teacher.training_allowed for teacher in recipe.teachers.values()},
        "verification": merged.verification,
        **{key: figures[key] for key in _CARD_FIGURES},
    }
    section = recipe.dataset.model_dump(mode="json")
    report_phase("export")
    with new_artifact(run.folder.dataset, "generate_dataset", inputs, section, recipe.seed) as draft:
        made = Publication(rows.shards(), cells, plan.near, recipe.dataset, tokenizer, facts)
        exported = write_exports(draft.path, made)
        figures |= {"files": exported.files, **exported.counted.to_json()}
        draft.metrics.update(figures)
    run.log.info("published %d rows in %s", len(rows), run.folder.dataset.name)
    return draft.metrics


def _commonest_reason(plan: Plan, given: Given | None) -> str:
    """Why questions were not kept, most frequent first."""
    quarantined = {f"quarantine/{reason}": count for reason, count in given.reasons().items()} if given else {}
    return commonest(plan.rejected() + Counter(quarantined)) or "no question was given"


def _checkpoint(run: DatasetRun, accepted: list[Question]) -> None:
    """Export accepted questions, `checkpoint_rows` to a file; what is exported is let go of."""
    every = run.recipe.dataset.checkpoint_rows
    run.accepted += accepted
    while len(run.accepted) >= every:
        run.checkpoints += 1
        write_checkpoint(run.folder.path, run.checkpoints, run.accepted[:every])
        del run.accepted[:every]


class _QuietFileHandler(logging.FileHandler):
    """A log file that runs full must not end or litter the run; the run's own writes report the disk."""

    def handleError(self, record: logging.LogRecord) -> None:
        return None


def _open_log(path: Path) -> tuple[logging.Logger, logging.Handler]:
    handler = _QuietFileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger(f"cogumi.dataset.{path.parent.name}")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    return log, handler
