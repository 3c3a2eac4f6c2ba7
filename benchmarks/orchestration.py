"""What Prefect costs: the flow against the same stage in process, and a fully cached re-run. The server is up."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import Figure, report
from cogumi.dataset.plan import Plan
from cogumi.dataset.request import DatasetRequest
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.store.run_folder import RunFolder
from deployments.local_server import local_server


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
    figures = [
        Figure("flow / same stage without Prefect", flow / plain, "ratio", high=1.10),
        Figure("fully cached re-run / first run", cached / flow, "ratio", high=0.05),
        Figure("calls bought by the cached re-run", bought, "calls", high=0),
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


def _charges(folder: Path) -> int:
    return len((folder / "provider_bill.tsv").read_text().splitlines())
