"""cells-short: every cell is counted, what rejects most is named, and more rounds help."""

from __future__ import annotations

from pathlib import Path

import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.shards import Grown, Shard
from cogumi.dataset.steps import begin_growing, grow, open_dataset_run, take_grown
from cogumi.domain import Question, Rejected
from cogumi.errors import RunError
from cogumi.store.run_folder import RunFolder
from tests.unit.dataset.running import tiny


def grown(shard: Shard, accepted: int, reason: str, duplicates: int = 0) -> Grown:
    questions = [Question(f"Question {n} of {shard.name}?", shard.cell, "t", "m", "k", "now") for n in range(accepted)]
    return Grown(shard, questions, [Rejected(reason, "k")] * 2, duplicates=duplicates)


def test_all_cells_are_counted_and_the_commonest_reasons_named() -> None:
    plan = Plan.for_recipe(tiny())
    for order in plan.to_grow():
        hard = order.shard.cell.difficulty == "hard"
        made = grown(order.shard, 1, "judge/difficulty" if hard else "parse/not-a-list", duplicates=3 if hard else 0)
        plan.take_grown(made, {"sha256": "0"})
    with pytest.raises(RunError, match="cells-short") as caught:
        plan.check_grown()
    assert caught.value.detail == (
        "coding/easy: 1 of 4, coding/hard: 1 of 6, math/easy: 1 of 4, math/hard: 1 of 6, tool_use/easy: 1 of 4, "
        "tool_use/hard: 1 of 6, and 10 more; rejected most often: duplicate: 24, parse/not-a-list: 16, judge/difficulty: 16"
    )


def test_shards_of_a_cell_are_one_cell_and_full_cells_are_not_named() -> None:
    plan = Plan.for_recipe(tiny(dataset__cells="{math: {easy: 24}, coding: {hard: 2}}", dataset__shard_rows=10))
    for order in plan.to_grow():
        plan.take_grown(grown(order.shard, 2, "judge/clarity"), {"sha256": "0"})
    with pytest.raises(RunError) as caught:
        plan.check_grown()
    assert caught.value.detail == "math/easy: 6 of 24; rejected most often: judge/clarity: 8"


async def test_a_shard_that_was_given_up_goes_on_where_more_rounds_are_allowed(tmp_path: Path) -> None:
    """As with Prefect, whose tasks hand out the results of an earlier session again."""
    few, more = (
        tiny(dataset__cells="{math: {easy: 12}}", dataset__max_rounds=rounds, loopback__defect_share=0.7)
        for rounds in (1, 60)
    )
    with RunFolder.open(tmp_path, "r", few) as folder:
        async with open_dataset_run(few, folder) as run:
            plan = Plan.for_recipe(few)
            orders = plan.to_grow()
            begin_growing(run, orders)
            pointers = [await grow(run, order) for order in orders]
            with pytest.raises(RunError, match="cells-short"):
                await take_grown(run, plan, orders, pointers)
    with RunFolder.open(tmp_path, "r", more) as folder:
        async with open_dataset_run(more, folder) as run:
            plan = Plan.for_recipe(more)
            begin_growing(run, plan.to_grow())
            await take_grown(run, plan, plan.to_grow(), pointers)
    assert pointers[0]["accepted"] < 12 and plan.settled().short == {}
