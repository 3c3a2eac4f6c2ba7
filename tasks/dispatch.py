"""Dispatch: a phase as a deployment on its work pool, waited for; a child that does not complete raises here.

Prefect's run_deployment returns a failed child as if nothing were wrong, and loses patience with a server that is away.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from cogumi.errors import RunError, StorageError

_LOOK_S = 2.0
_AWAY_S = 900.0  # a server may be away this long before a pipeline gives up
_GOING_ON = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED"]


async def may_crash_again(task: Any, run: Any, state: Any) -> bool:
    """Whether another try may help: where the phase's process went away, not where the phase failed."""
    outcome = await state.aresult(raise_on_failure=False)
    return isinstance(outcome, RunError) and outcome.code == "phase-crashed"


@task(
    name="dispatch",
    task_run_name="{deployment}",
    retries=2,
    retry_delay_seconds=10,
    retry_condition_fn=may_crash_again,
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def dispatch(deployment: str, request: dict[str, Any], run: str, after: Any) -> str:
    """Run a deployment for a pipeline's run and wait for its end; one that is under way already is joined.

    `after` is what it comes after, which draws the graph's edge. Returns the flow run's id.

    Raises RunError phase-failed, phase-crashed; StorageError server-unreachable.
    """
    logger = get_run_logger()
    tag = f"run:{run}"
    async with get_client() as client:
        child = await _under_way(client, deployment, tag)
        if child is None:
            child = await arun_deployment(
                deployment,
                parameters={"request": request},
                flow_run_name=f"{deployment.partition('/')[0]}-{run}",
                tags=["cogumi", tag],
                timeout=0,
                client=client,
            )
            logger.info("%s: flow run %s", deployment, child.name)
        else:
            logger.info("%s: joined flow run %s, which is under way", deployment, child.name)
        await _say_if_nobody_works(client, child, logger)
        ended = await _end_of(client, child.id)
    raise_unless_completed(deployment, ended)
    return str(ended.id)


async def cancel_dispatched(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Hook: a cancelled pipeline cancels the phases it has on pools."""
    async with get_client() as client:
        ours = await client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [flow_run.id]}))
        parents = [task_run.id for task_run in ours]
        if not parents:
            return
        asked = FlowRunFilter(parent_task_run_id={"any_": parents}, state={"type": {"any_": _GOING_ON}})
        for child in await client.read_flow_runs(flow_run_filter=asked):
            await client.set_flow_run_state(child.id, Cancelling(message="its pipeline was cancelled"))


def raise_unless_completed(deployment: str, ended: FlowRun) -> None:
    """Raise RunError phase-crashed or phase-failed with what the child's state says."""
    state = ended.state
    if state is not None and state.is_completed():
        return
    said = f"{state.name} {state.message or ''}" if state is not None else "no state"
    crashed = state is not None and state.is_crashed()
    raise RunError("phase-crashed" if crashed else "phase-failed", f"{deployment}, flow run {ended.name}: {said}")


async def _under_way(client: PrefectClient, deployment: str, tag: str) -> FlowRun | None:
    found = await client.read_deployment_by_name(deployment)
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(tags={"all_": [tag]}, state={"type": {"any_": _GOING_ON}}),
        deployment_filter=DeploymentFilter(id={"any_": [found.id]}),
    )
    return runs[0] if runs else None


async def somebody_works(deployment: str) -> bool:
    """Whether a worker is on a deployment's pool now."""
    async with get_client() as client:
        try:
            found = await client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            return False
        return await _is_worked_on(client, found.work_pool_name or "")


async def _is_worked_on(client: PrefectClient, pool: str) -> bool:
    workers = await client.read_workers_for_work_pool(pool) if pool else []
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


async def _say_if_nobody_works(client: PrefectClient, child: FlowRun, logger: Any) -> None:
    """A pool without a worker is no error (one may be on its way), but whoever waits should know."""
    pool = child.work_pool_name or ""
    if not await _is_worked_on(client, pool):
        logger.warning("no worker is on pool %s: prefect worker start --pool %s, on a machine with its GPU", pool, pool)


async def _end_of(client: PrefectClient, run_id: UUID) -> FlowRun:
    """Wait until a flow run has ended. A server that does not answer is waited for, a quarter of an hour at most."""
    away = 0.0
    while True:
        try:
            run = await client.read_flow_run(run_id)
        except httpx.HTTPError as error:
            away += _LOOK_S
            if away > _AWAY_S:
                raise StorageError("server-unreachable", f"for {away:.0f} s: {error}") from error
        else:
            away = 0.0
            if run.state is not None and run.state.is_final():
                return run
        await asyncio.sleep(_LOOK_S)
