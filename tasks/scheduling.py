"""What a flow run learns from its schedule, and what is done when it is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.client.schemas.objects import FlowRun, State

from cogumi.dataset.cancel import cancel_batches
from cogumi.dataset.request import DatasetRequest
from cogumi.store.files import create_exclusively

_PERIODS = ".periods"


def run_name() -> str:
    """The flow run's name: dataset-RUN, or for a versioned dataset dataset-NAME-PERIOD."""
    request = runtime.flow_run.parameters["request"]
    asked = request if isinstance(request, DatasetRequest) else DatasetRequest.model_validate(request)
    return f"dataset-{asked.named(_scheduled()).run}"


def period_of_this_run(root: Path) -> str:
    """The time this flow run was first scheduled for. Kept by its id, so that a retry is of the same period."""
    place = root / _PERIODS / str(runtime.flow_run.id or "none")
    if not runtime.flow_run.id:
        return _scheduled()
    try:
        create_exclusively(place, _scheduled().encode())
    except FileExistsError:
        return place.read_text()
    return place.read_text()


async def cancel_provider_batches(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Hook: a cancelled flow run cancels the batches it has open at providers."""
    asked = DatasetRequest.model_validate(flow_run.parameters["request"])
    place = Path(asked.root) / _PERIODS / str(flow_run.id)
    period = await asyncio.to_thread(place.read_text) if place.is_file() else ""
    await cancel_batches(asked.named(period))


def _scheduled() -> str:
    when = runtime.flow_run.scheduled_start_time
    return f"{when:%Y-%m-%dT%H%M}"
