"""Scheduled versions through a real server: week two buys new rows; a retry of a week buys nothing; approval; cancellation."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect import aresume_flow_run  # type: ignore[attr-defined]
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from cogumi.dataset.cancel import cancel_batches
from cogumi.dataset.plan import Plan
from cogumi.dataset.request import DatasetRequest
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import RunError
from cogumi.recipe import load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.teachers.server.serve import LoopbackProcess
from flows.generate_dataset import generate_dataset
from tasks.scheduling import cancel_provider_batches
from tests.conftest import bill_of
from tests.torture.oracle import check_money

pytestmark = pytest.mark.flows
CELLS = "dataset.cells={math: {easy: 6, hard: 4}, coding: {easy: 5}}"


def weekly(root: Path, period: str) -> DatasetRequest:
    versions = str(root.parent / "versions")
    return DatasetRequest(
        recipe="tiny", overrides=[CELLS], root=str(root), dataset="weekly", period=period, versions=versions
    )


async def test_week_two_is_new_and_a_week_again_is_the_same(root: Path) -> None:
    await generate_dataset(weekly(root, "2026-W47"))
    first = bill_of(root / "weekly-2026-W47" / "provider_bill.tsv")
    await generate_dataset(weekly(root, "2026-W48"))
    await generate_dataset(weekly(root, "2026-W47"))  # the same week again: nothing bought, nothing published
    assert bill_of(root / "weekly-2026-W47" / "provider_bill.tsv") == first
    versions = Versions(str(root.parent / "versions"), "weekly")
    one, two = versions.all()
    assert [v.run for v in (one, two)] == ["weekly-2026-W47", "weekly-2026-W48"]

    def questions(number: str) -> set[str]:
        folder = versions.fetch(number, root.parent / f"v{number}")
        rows = (folder / "training_15_complete.jsonl").read_text().splitlines()
        return {json.loads(row)["question"] for row in rows}

    assert not questions("1") & questions("2")
    report = json.loads((root / "weekly-2026-W48" / "report.json").read_text())["stages"]["generate_dataset"]
    assert (report["version"], report["dataset"]) == (2, "weekly")
    assert report["diff"]["added"] == 15 and report["diff"]["removed"] == 15 and report["diff"]["kept"] == 0
    assert "Version 2 of" in (root / "weekly-2026-W48" / "report.html").read_text()


async def test_a_run_without_a_period_is_named_by_its_schedule(root: Path) -> None:
    await generate_dataset(weekly(root, ""))
    (folder,) = root.glob("weekly-*")
    assert len(folder.name) == len("weekly-2026-11-24T0200")


async def flow_run_named(name: str, state: str) -> Any:
    async with get_client() as client:
        for _ in range(240):
            found = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
            if found and found[0].state is not None and found[0].state.name == state:
                return found[0]
            await asyncio.sleep(0.25)
    raise AssertionError(f"no flow run {name} {state}: {[(r.name, r.state_name) for r in found]}")


@pytest.mark.parametrize("approved", [True, False])
async def test_nothing_is_bought_before_the_approval(root: Path, approved: bool) -> None:
    name = f"approval-{approved}"
    request = DatasetRequest(recipe="tiny", run=name, overrides=[CELLS], root=str(root), approve=True)
    running = asyncio.create_task(generate_dataset(request))
    run = await flow_run_named(f"dataset-{name}", "Paused")
    assert not (root / name).exists()
    await aresume_flow_run(run.id, run_input={"approved": approved})
    if approved:
        assert (await running)["rows"] == 15
    else:
        with pytest.raises(RunError, match="not-approved"):
            await running
        assert not (root / name).exists()


async def test_cancelling_a_run_cancels_its_batches_and_a_resumed_run_goes_on(
    root: Path, loopback: Callable[..., LoopbackProcess], tmp_path: Path
) -> None:
    provider = loopback(batch_s=3)
    teachers = ("questioner", "judge", "answerer", "thinker")
    overrides = [CELLS, "dataset.answers_easy.delivery=batch", "teachers.answerer.batch={poll_s: 0.1, gather_s: 0.1}"]
    for name in teachers:
        place = provider.url if name == "thinker" else f"{provider.url}/v1"
        overrides += [f"teachers.{name}.base_url={place}", f"teachers.{name}.allow_loopback_http=true"]
    request = DatasetRequest(recipe="tiny", run="cancelled", overrides=overrides, root=str(root))
    recipe = load_recipe("tiny", overrides)

    async def run() -> dict[str, Any]:
        with RunFolder.open(root, "cancelled", recipe) as folder:
            async with open_dataset_run(recipe, folder) as opened:
                return await generate(opened, Plan.for_recipe(recipe))

    running = asyncio.create_task(run())
    place = tmp_path / "bill-0.batches"
    while not list(place.glob("batch-*.json")):
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    flow_run = SimpleNamespace(id="none", parameters={"request": request.model_dump()})
    await cancel_provider_batches(None, flow_run, None)  # the flow's hook
    (batch,) = await cancel_batches(request)  # asking again does no harm
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{provider.url}/v1/batches/{batch.provider_id}")).json()
    assert told["status"] == "cancelling"
    figures = await run()
    assert figures["rows"] == 15
    assert [row["state"] for row in figures["batches"]] == ["ended"]
    with sqlite3.connect(root / "cancelled" / "ledger.db") as connection:
        codes = [row[0] for row in connection.execute("select error_code from attempts where batch <> ''")]
    assert set(codes) == {"batch-canceled"}
    check_money(root / "cancelled", tmp_path / "bill-0.tsv")
