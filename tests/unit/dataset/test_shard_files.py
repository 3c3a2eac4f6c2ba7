"""Rows stay in shard files: what a plan keeps, what damage to a file does, and what is counted on the way."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import answer, begin_growing, generate, grow, open_dataset_run, take_grown
from cogumi.errors import StorageError
from cogumi.store.run_folder import RunFolder
from tests.conftest import bill_of
from tests.unit.dataset.running import rows_of, run_stage, tiny


async def test_a_shard_file_damaged_while_a_run_goes_on_stops_it_and_the_next_run_mends_it(tmp_path: Path) -> None:
    recipe = tiny()
    with RunFolder.open(tmp_path, "r", recipe) as folder:
        async with open_dataset_run(recipe, folder) as run:
            plan = Plan.for_recipe(recipe)
            orders = plan.to_grow()
            begin_growing(run, orders)
            await take_grown(run, plan, orders, [await grow(run, order) for order in orders])
            first = plan.to_answer()[0]
            (folder.shards / first.source["path"]).write_bytes(b"{}")
            with pytest.raises(StorageError, match="shard-damaged"):
                await answer(run, first)
    charges = bill_of(folder.path / "provider_bill.tsv")[0]
    figures = await run_stage(tmp_path, recipe)
    assert figures["rows"] == 80
    assert figures["calls_by_stage"]["questions"] + figures["calls_by_stage"]["judge"] == charges, "bought once"


async def test_every_answer_that_was_asked_again_is_counted(tmp_path: Path) -> None:
    figures = await run_stage(tmp_path, tiny(loopback__wrong_share=0.3, loopback__fault_share=0))
    calls = sum(figures["calls_by_stage"][f"answers_{kind}"] for kind in ("easy", "hard"))
    again = figures["answers_asked_again"]
    assert set(again) >= {"wrong"} and again["wrong"] > 3
    assert calls == figures["rows"] + figures["near_duplicates"] + sum(again.values())


async def test_a_plan_keeps_fingerprints_and_no_rows(tmp_path: Path) -> None:
    recipe = tiny()
    with RunFolder.open(tmp_path, "r", recipe) as folder:
        async with open_dataset_run(recipe, folder) as run:
            plan = Plan.for_recipe(recipe)
            await generate(run, plan)
    kept = pickle.dumps([plan.grown, plan.answers, plan.failed, plan.known])
    words = {word for row in rows_of(folder.path, "80") for word in row["question"].split() if len(word) > 6}
    assert len(words) > 50
    assert not [word for word in words if word.encode() in kept and not word.startswith("generate")]
