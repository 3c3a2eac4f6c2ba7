"""Forecast: what a run will buy, its price and its minutes, before the first call.

    expected = await forecast(recipe, folder, given, versions)
    expected["calls"], expected["cost_usd"], expected["stops"]

A run that has replies is replayed against its ledger, so that the calls are those that a run would make; a run that has
none is estimated from the recipe's counts.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from cogumi.dataset.estimate import calls_text, estimate
from cogumi.dataset.given import Given
from cogumi.dataset.lost_ledger import refuse_without_ledger
from cogumi.dataset.replay import DRAWS, Bought, Replayed, replay
from cogumi.dataset.request import DatasetRequest
from cogumi.metrics.formatting import usd
from cogumi.recipe import Recipe, as_of_format
from cogumi.store.ledger import Ledger
from cogumi.store.run_changes import refuse
from cogumi.store.run_folder import RunFolder, changes_of_run, read_run, run_path
from cogumi.store.versions import Versions


def existing_run(root: Path, name: str) -> RunFolder | None:
    """The folder of a run that has been started, or None. Raises StorageError run-damaged, run-newer."""
    path = run_path(root, name)
    if not (path / "run.json").is_file():
        return None
    return RunFolder(path, name, resumed=True, format=int(read_run(path)["format"]))


async def forecast(
    recipe: Recipe,
    folder: RunFolder | None,
    given: Given | None = None,
    versions: Versions | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """The estimate by stage and in all, with `stops`: the error that the run would end with, or None; `calls_range`:
    the fewest and the most calls of `draws` simulations of replies that the ledger does not hold.

    Raises BudgetError price-unknown; RunError ledger-missing; StorageError of the ledger.
    """
    counts = Counter(question.cell.difficulty for question in given.questions) if given else None
    if folder is None:
        expected = estimate(recipe, None, counts)
        return {**expected, "stops": _over_budget(recipe, 0, expected)}
    recipe = as_of_format(recipe, read_run(folder.path)["recipe"], folder.format)
    ledger = Ledger.view(folder.ledger_url, folder.name_in_ledger)
    try:
        refuse_without_ledger(folder, ledger)
        if not ledger.replies:
            expected = estimate(recipe, ledger, counts)
            return {**expected, "stops": _over_budget(recipe, _spent(ledger), expected)}
        found = await replay(recipe, folder, given, versions, draws)
        expected = estimate(recipe, ledger, counts, found.middle.calls)
        stops = _reason(found.middle) or _over_budget(recipe, _spent(ledger), expected)
        return {**expected, **_spread(expected, found), "reused": found.middle.reused, "stops": stops}
    finally:
        ledger.close()


async def check_changes(request: DatasetRequest, recipe: Recipe, versions: Versions | None) -> None:
    """Raises RunError run-recipe-changed with the keys that differ and what the run would then buy, unless the request
    allows it. Raises as `forecast` too.
    """
    folder = existing_run(Path(request.root), request.run)
    if folder is None:
        return
    found = changes_of_run(folder.path, read_run(folder.path), recipe, request.questions_told(recipe))
    if found.refused_for("", request.change):
        expected = await forecast(recipe, folder, request.read_questions(recipe), versions)
        price = f"with --change: {calls_text(expected)}, about ${expected['cost_usd']:,.2f}"
        refuse(request.run, found, "", request.change, price)


def _spread(expected: dict[str, Any], found: Replayed) -> dict[str, Any]:
    """Calls and dollars of the draws with the fewest and the most calls."""
    low, high = expected["cost_usd_range"]
    calls = max(1, expected["calls"])
    prices = [round(low * found.low / calls, 4), round(high * found.high / calls, 4)]
    return {"calls_range": [found.low, found.high], "draws": found.draws, "cost_usd_range": prices}


def _spent(ledger: Ledger) -> float:
    """Dollars that count against the budget: known cost, and what is at risk."""
    totals = ledger.totals()
    return (totals.cost_nanousd + totals.at_risk_nanousd) / 1e9


def _over_budget(recipe: Recipe, spent: float, expected: dict[str, Any]) -> str | None:
    """The error of a run that costs more than is left of its budget; one that buys nothing needs none."""
    most, cost = recipe.budget.max_usd, expected["cost_usd"]
    if most is None or cost == 0 or spent + cost <= most:
        return None
    return f"budget-reached: about {usd(cost)} to buy, {usd(max(0.0, most - spent))} of {usd(most)} left"


def _reason(bought: Bought) -> str | None:
    return None if bought.stops is None else f"{bought.stops.code}: {bought.stops.detail}"
