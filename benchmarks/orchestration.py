"""What Prefect costs: the flow against the same stage in process, a fully cached re-run, a task run, a site.

The server of the first three is up before anything is timed.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.measuring import Figure, report
from cogumi.dataset.plan import Plan
from cogumi.dataset.request import DatasetRequest
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.store.run_folder import RunFolder
from deployments.local_server import free_port, local_server
from deployments.stack import down, up

_TASKS = 500


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    rows = 100 if quick else 500
    overrides = [
        f"dataset.cells={{math: {{easy: {rows}}}, reading: {{easy: {rows}}}}}",
        "loopback.latency_s=0.5",
        "loopback.fault_share=0",
        "dataset.answers_easy.workers=10",
    ]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, _server(Path(folder)):
        root = str(Path(folder) / "runs")
        plain = asyncio.run(_plain(DatasetRequest(run="plain", recipe="tiny", overrides=overrides, root=root)))
        request = DatasetRequest(run="flow", recipe="tiny", overrides=overrides, root=root)
        flow = asyncio.run(_flow(request))
        calls = _charges(Path(root) / "flow")
        cached = asyncio.run(_flow(request))
        bought = _charges(Path(root) / "flow") - calls
        engine = asyncio.run(_engine_ms())
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        first_page = _first_page_s(Path(folder))
    figures = [
        Figure("flow / same stage without Prefect", flow / plain, "ratio", high=1.10),
        Figure("fully cached re-run / first run", cached / flow, "ratio", high=0.05),
        Figure("calls bought by the cached re-run", bought, "calls", high=0),
        Figure("client engine CPU a task run", engine["plain"], "ms", high=5),
        Figure("the same with a content key and a stored result", engine["cached"], "ms"),
        Figure("cogumi up, until the first page", first_page, "s", high=60),
        Figure("without Prefect", plain, "s"),
        Figure("flow", flow, "s"),
        Figure("cached re-run", cached, "s"),
        Figure("calls of the run", calls, "calls"),
    ]
    report(
        "orchestration",
        figures,
        {"rows_a_shard": rows, "shards": 2, "call_s": 0.5, "workers": 10},
        save=save,
        table=table,
    )


@contextmanager
def _server(folder: Path) -> Iterator[None]:
    """A Prefect server of its own, known to this process, ready before anything is timed."""
    with local_server(folder / "prefect") as environment:
        os.environ |= {**environment, "PREFECT_LOGGING_LEVEL": "WARNING"}
        yield


async def _plain(request: DatasetRequest) -> float:
    recipe = request.load()
    began = time.perf_counter()
    with RunFolder.open(Path(request.root), request.run, recipe) as folder:
        async with open_dataset_run(recipe, folder) as run:
            await generate(run, Plan.for_recipe(recipe))
    return time.perf_counter() - began


async def _flow(request: DatasetRequest) -> float:
    from flows.generate_dataset import generate_dataset  # noqa: PLC0415 - after the settings above

    began = time.perf_counter()
    await generate_dataset(request)
    return time.perf_counter() - began


async def _engine_ms() -> dict[str, float]:
    """CPU milliseconds of this process a task run: tasks that do nothing, by gather, plain and as the shards' are."""
    from prefect import flow, task  # noqa: PLC0415 - after the settings above
    from prefect.cache_policies import NO_CACHE  # noqa: PLC0415

    from blocks.pinned_store import PLAIN_JSON  # noqa: PLC0415
    from tasks.caching import ContentKey  # noqa: PLC0415
    from tasks.resources import results_store  # noqa: PLC0415

    @task(cache_policy=NO_CACHE, persist_result=False)
    async def plain(key: str) -> None:
        return None

    @task(cache_policy=ContentKey(), persist_result=True, result_serializer=PLAIN_JSON)
    async def cached(key: str) -> str:
        return key

    @flow(persist_result=False)
    async def many(kind: str, folder: str) -> float:
        work = cached.with_options(result_storage=await results_store(Path(folder))) if kind == "cached" else plain
        slots = asyncio.Semaphore(64)

        async def one(number: int) -> None:
            async with slots:
                await work(key=f"{kind}/{number}")

        await asyncio.gather(*(one(number) for number in range(20)))  # warm
        began = time.process_time()
        await asyncio.gather(*(one(number) for number in range(100, 100 + _TASKS)))
        return (time.process_time() - began) * 1000 / _TASKS

    with tempfile.TemporaryDirectory() as folder:
        return {kind: await many(kind, folder) for kind in ("plain", "cached")}


def _first_page_s(home: Path) -> float:
    """Seconds until everything of a site stands and the dashboard's first page is served."""
    port = free_port()
    began = time.perf_counter()
    try:
        standing = up(home, {"port": port, "work": str(home)})
        httpx.get(standing.site.root, timeout=20).raise_for_status()
        return time.perf_counter() - began
    finally:
        down(home, grace_s=5)


def _charges(folder: Path) -> int:
    return len((folder / "provider_bill.tsv").read_text().splitlines())
