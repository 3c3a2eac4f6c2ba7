"""Run folders that released versions wrote: each is opened and resumed by this one, and nothing is bought again."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.recipe import load_recipe, stored_recipe
from cogumi.store.run_folder import RunFolder
from tests.torture.oracle import check_money, check_published

FROZEN = sorted((Path(__file__).parent / "fixtures").glob("run-*"))


def test_there_is_a_frozen_run() -> None:
    assert FROZEN


@pytest.mark.parametrize("frozen", FROZEN, ids=lambda path: path.name)
async def test_a_frozen_run_resumes_without_buying_anything_again(frozen: Path, tmp_path: Path) -> None:
    place = tmp_path / frozen.name
    shutil.copytree(frozen, place)
    before = check_money(place)
    assert before.received > 10 and before.unknown > 0
    run_json = json.loads((place / "run.json").read_text())
    recipe = stored_recipe({**run_json["recipe"], "budget": {"max_usd": 5}}, run_json["format"])
    with RunFolder.open(tmp_path, frozen.name, recipe) as folder:
        assert folder.resumed
        async with open_dataset_run(recipe, folder) as run:
            figures = await generate(run, Plan.for_recipe(recipe))
            assert run.staff.tally.reused >= before.received
    assert figures["cells"] == {"math/easy": 3, "math/hard": 4, "reading/hard": 3}
    check_published(place, figures["cells"])
    assert check_money(place).received > before.received


async def test_a_run_whose_cache_brought_the_guide_along_goes_on_with_it(tmp_path: Path) -> None:
    """Format 2 with a cache, resumed by the same command now, whose preset has neither guide nor cache."""
    frozen = Path(__file__).parent / "fixtures" / "run-0.1.0-format2-cache"
    place = tmp_path / frozen.name
    shutil.copytree(frozen, place)
    before = check_money(place)
    stored = json.loads((place / "run.json").read_text())
    assert stored["format"] == 2 and "guide" not in stored["recipe"]["dataset"]["answers_hard"]
    cells = "dataset.cells={math: {easy: 3, hard: 4}, reading: {hard: 3}}"
    recipe = load_recipe("tiny", [cells, "loopback.fault_share=0.2", "loopback.seed=4", "budget.max_usd=5"])
    with RunFolder.open(tmp_path, frozen.name, recipe) as folder:
        async with open_dataset_run(recipe, folder) as run:
            await generate(run, Plan.for_recipe(recipe))
            assert run.staff.tally.reused >= before.received
    with sqlite3.connect(place / "ledger.db") as ledger:
        asked = [row[0] for row in ledger.execute("select request from attempts where stage = 'answers_hard'")]
    assert len(asked) >= 7 and all(b"house rules" in bytes(body) for body in asked)
    assert all(b"cache_control" in bytes(body) for body in asked)
