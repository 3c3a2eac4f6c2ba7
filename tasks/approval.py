"""Approval: a flow run pauses before it buys anything, with price and minutes on the dashboard."""

from __future__ import annotations

from pathlib import Path

from prefect.artifacts import acreate_table_artifact
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

from cogumi.dataset.forecast import existing_run, forecast
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import RunError
from cogumi.recipe import Recipe
from cogumi.store.versions import Versions
from tasks.dashboard import artifact_key

_WAIT_S = 7 * 24 * 3600


class Approval(RunInput):
    """What the dashboard's Resume form asks."""

    approved: bool = Field(False, description="buy what the estimate says")


async def approval(request: DatasetRequest, recipe: Recipe, versions: Versions | None) -> None:
    """Pause until somebody has approved, where the request asks for it. Raises RunError not-approved."""
    if not request.approve:
        return
    folder = existing_run(Path(request.root), request.run)
    expected = await forecast(recipe, folder, request.read_questions(recipe), versions)
    rows = [
        {name: row[name] for name in ("stage", "model", "delivery", "calls", "cost_usd", "minutes")}
        for row in expected["stages"]
    ]
    told = f"About ${expected['cost_usd']:,.2f} and {expected['minutes']:,.0f} minutes. Resume the run to approve."
    await acreate_table_artifact(rows, key=artifact_key(request.run, "estimate"), description=told)
    answer = await apause_flow_run(wait_for_input=Approval.with_initial_data(description=told), timeout=_WAIT_S)
    if not answer.approved:
        raise RunError("not-approved", request.run)
