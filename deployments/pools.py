"""Work pools and their queues: made where they are missing, changed where they differ."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from deployments.site import POOLS, QUEUES, Pool


async def make_pools(client: PrefectClient, simulate: bool) -> None:
    """Every pool with its queues. Raises what Prefect's client raises."""
    for pool in POOLS:
        template = job_template(pool, simulate)
        try:
            await client.read_work_pool(pool.name)
            await client.update_work_pool(
                pool.name, WorkPoolUpdate(description=pool.description, base_job_template=template, is_paused=False)
            )
        except ObjectNotFound:
            made = WorkPoolCreate(
                name=pool.name, type="process", description=pool.description, base_job_template=template
            )
            await client.create_work_pool(made)
        await _make_queues(client, pool)


def job_template(pool: Pool, simulate: bool) -> dict[str, Any]:
    """Prefect's template of a process pool, with what a job must know of its pool as defaults of its environment."""
    template = deepcopy(ProcessWorker.get_default_base_job_template())
    environment = {"COGUMI_POOL": pool.name, "COGUMI_GPU": ",".join(pool.gpus)}
    if pool.gpus and simulate:
        environment["COGUMI_SIMULATE"] = "1"
    template["variables"]["properties"]["env"]["default"] = environment
    return template


async def _make_queues(client: PrefectClient, pool: Pool) -> None:
    existing = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool.name)}
    for name, priority in QUEUES.items():
        if name not in existing:
            await client.create_work_queue(name=name, priority=priority, work_pool_name=pool.name)
        elif existing[name].priority != priority:
            await client.update_work_queue(existing[name].id, priority=priority)
