"""What the dashboard shows of a run: progress while it goes on; funnel, retries, cost and the report's place at
its end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.events import emit_event

from cogumi.dataset.context import DatasetRun
from cogumi.errors import BudgetError
from cogumi.metrics.formatting import number, usd
from cogumi.report.html import funnel
from cogumi.report.plots import domain_bars, image_url

_EVERY_S = 5.0


def tag_this_run(*tags: str) -> None:
    """Tag this flow run. Its tasks stay without: each tag of a task run asks the server for a slot before it starts."""
    with get_client(sync_client=True) as client:
        held = client.read_flow_run(runtime.flow_run.id).tags
        client.update_flow_run(runtime.flow_run.id, tags=sorted({*held, "cogumi", *tags}))


@asynccontextmanager
async def progress_artifact(run: DatasetRun) -> AsyncIterator[None]:
    """A progress artifact, renewed every 5 s while the block runs."""
    artifact = await acreate_progress_artifact(
        0.0, key=artifact_key(run.folder.name, "progress"), description="rows done of rows wanted, over all steps"
    )
    updating = asyncio.create_task(_keep_current(run, artifact))
    try:
        yield
    finally:
        updating.cancel()
    await aupdate_progress_artifact(artifact, _percent(run))


async def show_results(run: str, report: dict[str, Any], page: Path) -> None:
    """The tables of a finished run, and where its report lies."""
    stage = report["stages"]["generate_dataset"]
    steps = [
        {
            "step": name,
            "rows": rows,
            "lost before it": ", ".join(f"{why} {n}" for why, n in lost.items() if n),
        }
        for name, rows, lost in funnel(stage)
    ]
    await acreate_table_artifact(
        steps, key=artifact_key(run, "funnel"), description="From what was asked to what was kept"
    )
    await acreate_table_artifact(
        retry_rows(report),
        key=artifact_key(run, "retries"),
        description="Attempts without a usable reply, by provider and code",
    )
    await acreate_table_artifact(
        cost_rows(report), key=artifact_key(run, "cost"), description="Cost by stage and model, known and at risk (USD)"
    )
    bars = f"Rows of {run} by domain, easy and hard"
    await acreate_markdown_artifact(
        f"![{bars}]({image_url(domain_bars(stage['cells']))})", key=artifact_key(run, "domains"), description=bars
    )
    await acreate_link_artifact(
        page.as_uri(),
        link_text="report.html",
        key=artifact_key(run, "report"),
        description=f"The report of {run}, one file",
    )


def cost_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a stage and model."""
    return [{**row, **{name: usd(row[name]) for name in ("cost_usd", "at_risk_usd")}} for row in report["cost"]]


def retry_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a provider and code."""
    rows = [{**row, "waited_s": number(row["waited_s"], ",.1f")} for row in report["retries"]]
    return rows or [{"provider": "all", "code": "none", "count": 0}]


@contextmanager
def told_when_the_budget_is_reached() -> Iterator[None]:
    """Emit cogumi.budget.reached for this flow run where the block ends at the hard stop."""
    try:
        yield
    except BudgetError as error:
        name = str(runtime.flow_run.name or "")
        resource = {"prefect.resource.id": f"prefect.flow-run.{runtime.flow_run.id}", "prefect.resource.name": name}
        emit_event(event="cogumi.budget.reached", resource=resource, payload={"message": error.detail})
        raise


async def _keep_current(run: DatasetRun, artifact: Any) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        await aupdate_progress_artifact(artifact, _percent(run))


def _percent(run: DatasetRun) -> float:
    steps = run.progress.steps.values()
    total = sum(step.total for step in steps)
    return round(100 * min(1.0, sum(step.done for step in steps) / total), 1) if total else 0.0


def artifact_key(run: str, what: str) -> str:
    """Artifact keys may hold lower-case letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", f"{run}-{what}".lower()).strip("-")
