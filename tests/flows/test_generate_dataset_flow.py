"""The flow through a real Prefect server: names, graph, artifacts, caching, tampered results, failures, worker processes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
)
from prefect.client.schemas.objects import FlowRun, TaskRun

from blocks.pinned_store import PinnedStore, refuse_unless_plain
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import BudgetError, RunError
from flows.generate_dataset import generate_dataset
from tests.conftest import bill_of

pytestmark = pytest.mark.flows


def request(root: Path, run: str, *overrides: str) -> DatasetRequest:
    return DatasetRequest(run=run, recipe="tiny", overrides=list(overrides), root=str(root))


async def runs_named(name: str) -> list[FlowRun]:
    async with get_client() as client:
        found = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return sorted(found, key=lambda run: run.created or run.expected_start_time)


async def tasks_of(run: FlowRun) -> list[TaskRun]:
    async with get_client() as client:
        return await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))


async def artifacts_of(run: FlowRun) -> dict[str, Any]:
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        )
    return {str(artifact.key): artifact for artifact in found}


async def settled_tasks(run: FlowRun, expected: int) -> list[TaskRun]:
    """The task runs, once the server has taken in their events."""
    import asyncio

    found: list[TaskRun] = []
    for _ in range(60):
        found = await tasks_of(run)
        if len(found) >= expected and all(task.state is not None and task.state.is_final() for task in found):
            return found
        await asyncio.sleep(0.5)
    return found


async def test_a_run_shows_its_tasks_by_name_and_its_artifacts(root: Path) -> None:
    figures = await generate_dataset(request(root, "named"))
    assert figures["rows"] == 80
    (run,) = await runs_named("dataset-named")
    assert run.state is not None and run.state.is_completed()
    tasks = await settled_tasks(run, 33)
    names = sorted(task.name for task in tasks)
    pattern = re.compile(r"(generate|answer)-[a-z_]+-(easy|hard)-\d{5}(-more-\d+)?$|publish-dataset.*")
    assert all(pattern.match(name) for name in names), names
    assert 33 <= len(tasks) <= 200
    answers = [task for task in tasks if task.name.startswith("answer-")]
    assert all(task.task_inputs["questions"] for task in answers)  # the graph has its edges
    artifacts = await artifacts_of(run)
    assert {"named-progress", "named-funnel", "named-retries", "named-cost", "named-report"} <= set(artifacts)
    assert float(artifacts["named-progress"].data) == 100.0
    assert json.loads(artifacts["named-funnel"].data)[-1]["rows"] == 80
    assert "report.html" in artifacts["named-report"].data


async def test_a_cached_re_run_makes_no_call(root: Path) -> None:
    first = await generate_dataset(request(root, "cached"))
    charges = bill_of(root / "cached" / "provider_bill.tsv")
    again = await generate_dataset(request(root, "cached"))
    assert again == first
    assert bill_of(root / "cached" / "provider_bill.tsv") == charges
    runs = await runs_named("dataset-cached")
    tasks = await settled_tasks(runs[-1], 33)
    states = {task.state.name for task in tasks if task.state and not task.name.startswith("publish")}
    assert states == {"Cached"}


async def test_a_tampered_result_is_not_run_and_the_work_is_done_again(root: Path, tmp_path: Path) -> None:
    await generate_dataset(request(root, "tampered"))
    charges = bill_of(root / "tampered" / "provider_bill.tsv")
    trap = tmp_path / "trap"
    trap.mkdir()
    attacks: list[dict[str, Any]] = [
        {"type": "pickle"},
        {"type": "json", "jsonlib": "json", "object_decoder": "shutil.rmtree"},
        {"type": "json", "jsonlib": "pickle"},
    ]
    records = [path for path in (root / "tampered" / "prefect-results").rglob("*") if path.is_file()]
    assert len(records) >= 32
    for number, path in enumerate(records):
        record = json.loads(path.read_bytes())
        record["metadata"]["serializer"] = attacks[number % 3]
        record["result"] = json.dumps({"__class__": "shutil.rmtree", "data": {"path": str(trap)}})
        path.write_text(json.dumps(record))
    figures = await generate_dataset(request(root, "tampered"))
    assert figures["rows"] == 80 and trap.is_dir()
    assert bill_of(root / "tampered" / "provider_bill.tsv") == charges


async def test_lost_shards_behind_cached_tasks_are_made_again_for_nothing(root: Path) -> None:
    await generate_dataset(request(root, "lost"))
    charges = bill_of(root / "lost" / "provider_bill.tsv")
    rows = (root / "lost" / "dataset" / "training_80_complete.jsonl").read_bytes()
    shutil.rmtree(root / "lost" / "shards")
    shutil.rmtree(root / "lost" / "dataset")
    await generate_dataset(request(root, "lost"))
    assert bill_of(root / "lost" / "provider_bill.tsv") == charges
    assert (root / "lost" / "dataset" / "training_80_complete.jsonl").read_bytes() == rows


async def test_a_failed_run_is_failed_on_the_dashboard_and_its_retry_goes_on(root: Path) -> None:
    with pytest.raises(BudgetError):
        await generate_dataset(request(root, "poor", "budget.max_usd=0.12"))
    (run,) = await runs_named("dataset-poor")
    assert run.state is not None and run.state.is_failed() and "budget-reached" in str(run.state.message)
    bought = bill_of(root / "poor" / "provider_bill.tsv")[0]
    figures = await generate_dataset(request(root, "poor", "budget.max_usd=5"))
    assert figures["rows"] == 80 and figures["calls"] >= bought > 20


async def test_a_shard_that_stays_short_fails_the_flow(root: Path) -> None:
    with pytest.raises(RunError, match="cells-short"):
        await generate_dataset(request(root, "short", "loopback.defect_share=1", "dataset.max_rounds=2"))
    assert not (root / "short" / "dataset").exists()


def test_parameters_are_one_small_form_that_refuses_keys(root: Path) -> None:
    schema = generate_dataset.parameters.model_dump() if hasattr(generate_dataset.parameters, "model_dump") else {}
    assert list(schema["properties"]) == ["request"]
    fields = schema["definitions"]["DatasetRequest"]["properties"]
    assert all("description" in field for field in fields.values())
    with pytest.raises(ValueError, match="looks like an API key") as caught:
        request(root, "x", "teachers.judge.api_key_env=sk-canary-0123456789abcdefg")
    assert "environment variable" in str(caught.value) and "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [b"", b"\x80\x04K\x01.", b"{}", b'{"metadata": {"serializer": {"type": "pickle"}}}', b'{"metadata": {"serializer": {"type": "json", "jsonlib": "os"}}}',
     b'{"metadata": {"serializer": {"type": "json", "jsonlib": "json", "object_decoder": "os.system"}}}',
     b'{"metadata": {"serializer": {"type": "json", "jsonlib": "json", "object_decoder": null, "loads_kwargs": {"cls": "x"}}}}'],
)  # fmt: skip
def test_the_store_refuses_whatever_is_not_plain_json(record: bytes) -> None:
    with pytest.raises(ValueError, match="result record"):
        refuse_unless_plain(record)


def test_the_store_keeps_to_its_folder(tmp_path: Path) -> None:
    store = PinnedStore(basepath=str(tmp_path / "store"))
    for key in ("../out", "/etc/passwd", "a/../../b"):
        with pytest.raises(ValueError, match="leaves the store"):
            store.write_path(key, b"x")
