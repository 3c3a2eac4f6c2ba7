"""Forecast = what happens: calls and dollars of a changed recipe before it runs, against what the run then buys."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.forecast import try_changes
from benchmarks.parts.recipe_changes import random_changes
from cogumi.dataset.forecast import check_changes, existing_run, forecast
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import RunError
from cogumi.store.ledger import Ledger
from tests.unit.dataset.running import run_stage, tiny


def replies_of(root: Path) -> int:
    ledger = Ledger.view(f"sqlite:///{root / 'r' / 'ledger.db'}", "r")
    try:
        return ledger.replies
    finally:
        ledger.close()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_forecasts_of_30_random_changes_are_within_a_tenth_of_what_is_bought() -> None:
    tried = await try_changes(random_changes(30, seed=1))
    wrong = [one for one in tried if one.error > 0.1 or (one.expected == 0) != (one.bought == 0)]
    assert wrong == []
    assert sum(one.bought == 0 for one in tried) >= 8 and sum(one.bought > 100 for one in tried) >= 5
    assert all(one.stops == one.stopped for one in tried)


async def test_a_forecast_sends_nothing_and_writes_nothing(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny())
    before = files_of(tmp_path / "r")
    unchanged = await forecast(tiny(), existing_run(tmp_path, "r"))
    changed = await forecast(tiny(dataset__questions__per_call=4), existing_run(tmp_path, "r"))
    after = files_of(tmp_path / "r")
    for name in ("ledger.db-wal", "ledger.db-shm"):
        before.pop(name, None), after.pop(name, None)
    assert unchanged["calls"] == 0 and unchanged["cost_usd"] == 0
    assert changed["calls"] > 100
    assert {name for name in after if after[name] != before.get(name)} == set() and before.keys() == after.keys()


async def test_a_run_that_was_killed_is_forecast_from_its_ledger(tmp_path: Path) -> None:
    recipe = tiny(budget__max_usd=0.02)
    with pytest.raises(Exception, match="budget-reached"):
        await run_stage(tmp_path, recipe)
    whole = tiny(budget__max_usd=5)
    expected = await forecast(whole, existing_run(tmp_path, "r"))
    held = replies_of(tmp_path)
    figures = await run_stage(tmp_path, whole)
    bought = figures["calls"] - figures["retries"] - held
    assert held > 10 and abs(expected["calls"] - bought) <= 0.1 * bought


async def test_a_forecast_says_where_the_run_would_stop(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny())
    expected = await forecast(tiny(dataset__judge__pass_mean=10, dataset__max_rounds=2), existing_run(tmp_path, "r"))
    assert expected["stops"].startswith("cells-short") and expected["calls"] > 0


async def test_what_few_replies_can_tell_is_forecast_as_a_range(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny())
    rare = tiny(dataset__judge__pass_mean=9.5)  # which 2 questions in 100 reach, and the run has judged about 100
    expected = await forecast(rare, existing_run(tmp_path, "r"))
    low, high = expected["calls_range"]
    assert 300 < low < expected["calls"] < high and expected["draws"] > 1
    assert expected["cost_usd_range"][0] < expected["cost_usd"] < expected["cost_usd_range"][1]
    before = expected["reused"]
    figures = await run_stage(tmp_path, rare, change=True)
    bought = figures["calls"] - figures["retries"] - before
    assert low <= bought <= high, (low, bought, high)


async def test_a_change_is_refused_with_its_keys_and_its_price(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny())
    asked = DatasetRequest(run="r", root=str(tmp_path), overrides=["dataset.answers_easy.temperature=0.2"])
    with pytest.raises(RunError) as refused:
        await check_changes(asked, asked.load(), None)
    assert refused.value.code == "run-recipe-changed"
    assert "dataset.answers_easy.temperature: 0.7 -> 0.2" in refused.value.detail
    assert "with --change: 32 calls, about $" in refused.value.detail
    await check_changes(asked.model_copy(update={"change": True}), asked.load(), None)


async def test_a_finished_run_without_its_ledger_buys_nothing_again(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny())
    for file in (tmp_path / "r").glob("ledger.db*"):
        file.unlink()
    for doing in (forecast(tiny(), existing_run(tmp_path, "r")), run_stage(tmp_path, tiny())):
        with pytest.raises(RunError, match="ledger-missing") as refused:
            await doing
        assert "cogumi ledger restore" in refused.value.entry.remedy


async def test_what_is_left_of_the_budget_is_told(tmp_path: Path) -> None:
    fresh = await forecast(tiny(budget__max_usd=0.01), None)
    assert fresh["stops"].startswith("budget-reached")
    figures = await run_stage(tmp_path, tiny())
    spent = figures["cost_usd"] + figures["at_risk_usd"]
    asked = tiny(seed=5, budget__max_usd=spent + 0.01)
    expected = await forecast(asked, existing_run(tmp_path, "r"))
    assert expected["stops"].startswith("budget-reached") and "$0.0100 of" in expected["stops"]
    assert (await forecast(tiny(budget__max_usd=spent), existing_run(tmp_path, "r")))["stops"] is None, "buys nothing"
    assert (await forecast(tiny(seed=5, budget__max_usd=9), existing_run(tmp_path, "r")))["stops"] is None


@pytest.mark.parametrize("change", [{"dataset__judge__max_tokens": 200}, {"dataset__judge__max_tokens": 350}])
async def test_replies_that_are_cut_are_asked_for_again(tmp_path: Path, change: dict[str, int]) -> None:
    await run_stage(tmp_path, tiny())
    expected = await forecast(tiny(**change), existing_run(tmp_path, "r"))
    held = replies_of(tmp_path)
    await run_stage(tmp_path, tiny(**change), change=True)
    bought = replies_of(tmp_path) - held
    assert bought > 15 and abs(expected["calls"] - bought) <= 0.1 * bought


async def test_the_same_question_has_the_same_answer(tmp_path: Path) -> None:
    """Also on a machine that is busy: draws are counted, not timed."""
    await run_stage(tmp_path, tiny())
    one, two = [await forecast(tiny(dataset__judge__pass_mean=9.3), existing_run(tmp_path, "r")) for _ in range(2)]
    assert one == two and one["draws"] > 1
