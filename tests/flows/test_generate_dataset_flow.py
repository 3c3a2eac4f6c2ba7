"""The flow through a real Prefect server: names, graph, artifacts, caching, tampered results, failures, worker processes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.filesystems import LocalFileSystem
from pydantic import SecretStr

from blocks import ArtifactStore
from blocks.pinned_store import PLAIN_JSON, PinnedStore, refuse_unless_plain
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import BudgetError, RunError
from flows.generate_dataset import generate_dataset
from tasks.caching import ContentKey
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


ATTACKS: list[dict[str, Any]] = [
    {"type": "pickle"},
    {"type": "json", "jsonlib": "json", "object_decoder": "shutil.rmtree"},
    {"type": "json", "jsonlib": "pickle"},
]


class Bomb:
    """Unpickled, it makes the folder that it names."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.place),)


def attack(record: bytes, number: int, trap: Path, made: Path) -> bytes:
    """A stored record as somebody who may write to the store would leave it."""
    told = json.loads(record)
    told["metadata"]["serializer"] = ATTACKS[number % 3]
    told["result"] = json.dumps({"__class__": "shutil.rmtree", "data": {"path": str(trap)}})
    if number % 3 == 0:
        told["result"] = base64.encodebytes(pickle.dumps(Bomb(made))).decode()
    return json.dumps(told).encode()


@pytest.mark.parametrize("where", ["folder", "s3"])
async def test_a_tampered_result_is_not_run_and_the_work_is_done_again(
    root: Path, tmp_path: Path, s3_endpoint: str, where: str
) -> None:
    trap, made = tmp_path / "trap", tmp_path / "made-by-a-bomb"
    trap.mkdir()
    asked = request(root, f"tampered-{where}")
    place = str(root / asked.run / "prefect-results")
    options: dict[str, Any] = {}
    if where == "s3":
        block = ArtifactStore(url="s3://cogumi-test/results", access_key_id="k", secret_access_key=SecretStr("s"),
                              endpoint_url=s3_endpoint, region="us-east-1")  # fmt: skip
        await block.asave("results-on-s3", overwrite=True)
        asked = asked.model_copy(update={"results": "block:results-on-s3"})
        place, options = block.url, block.options()
    await generate_dataset(asked)
    charges = bill_of(root / asked.run / "provider_bill.tsv")
    files, base = fsspec.core.url_to_fs(place, **options)
    records = files.find(base)
    assert len(records) >= 32
    for number, path in enumerate(records):
        files.pipe_file(path, attack(files.cat_file(path), number, trap, made))
    figures = await generate_dataset(asked)
    assert figures["rows"] == 80 and trap.is_dir() and not made.exists()
    assert bill_of(root / asked.run / "provider_bill.tsv") == charges
    assert all(b"shutil.rmtree" not in files.cat_file(path) for path in records), "made again and stored again"


async def test_the_attacks_work_where_nothing_pins_the_store(root: Path, tmp_path: Path) -> None:
    """Control: Prefect's own storage runs the same record, so the test above can fail."""
    made = tmp_path / "made-by-a-bomb"
    store = LocalFileSystem(basepath=str(tmp_path / "plain"))
    await store.save("unpinned", overwrite=True)

    @task(cache_policy=ContentKey(), persist_result=True, result_serializer=PLAIN_JSON, result_storage=store)
    async def work(key: str) -> str:
        return key

    @flow(persist_result=False)
    async def once() -> str:
        return await work(key="k")

    await once()
    (record,) = [path for path in (tmp_path / "plain").rglob("*") if path.is_file()]
    record.write_bytes(attack(record.read_bytes(), 0, tmp_path, made))
    with contextlib.suppress(Exception):
        await once()
    assert made.is_dir()


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
