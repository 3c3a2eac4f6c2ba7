"""Automations: what the server does by itself. A run without a heartbeat is marked Crashed; who asked for it is told.

Without the first a killed run would stay "Running" for ever, and hold the slot of its deployment.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from cogumi.errors import InputError
from deployments.site import HEARTBEAT_S

_BEAT = "prefect.flow-run.heartbeat"
_ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Cancelling")}
_WAITING = {f"prefect.flow-run.{state}" for state in ("Paused", "Suspended", "AwaitingRetry", "Scheduled")}
_FLOW_RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
CRASHED = "cogumi: mark killed runs as crashed"
TOLD = "cogumi: tell of runs that end and budgets reached"
_TOLD = {"prefect.flow-run.Completed", "prefect.flow-run.Failed", "prefect.flow-run.Crashed", "cogumi.budget.reached"}


async def make_automations(client: PrefectClient, notify: str = "") -> None:
    """The automations of a site. `notify` names a notification block, such as "slack-webhook/team"."""
    wanted = [crash_when_silent()]
    if notify:
        wanted.append(await _notification(client, notify))
    for automation in wanted:
        for old in await client.read_automations_by_name(automation.name):
            await client.delete_automation(old.id)
        await client.create_automation(automation)


def crash_when_silent() -> AutomationCore:
    """Crashed 75 s after its last heartbeat, which is two missed. A run that has ended, or waits for something, is left
    alone.
    """
    return AutomationCore(
        name=CRASHED,
        description="A flow run whose process is gone sends no heartbeat any more. Resume it: nothing is bought twice.",
        trigger=EventTrigger(
            after={_BEAT},
            expect={_BEAT, *_ENDED, *_WAITING},
            match=_FLOW_RUNS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=2.5 * HEARTBEAT_S),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="No heartbeat: the process is gone. cogumi resume, or a retry, goes on and buys nothing twice.",
            )
        ],
    )


async def _notification(client: PrefectClient, block: str) -> AutomationCore:
    """One automation for all that is told: on SQLite each more of them writes at every event, and they lock each other
    out.
    """
    kind, _, name = block.partition("/")
    try:
        found = await client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise InputError("block-unknown", block) from None
    subject = "cogumi: {{ flow_run.name }} {{ event.event }}"
    body = "{{ flow_run.name }}: {{ flow_run.state.name }} {{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
    return AutomationCore(
        name=TOLD,
        trigger=EventTrigger(
            expect=_TOLD, match=_FLOW_RUNS, posture=Posture.Reactive, threshold=1, within=timedelta(0)
        ),
        actions=[SendNotification(block_document_id=found.id, subject=subject, body=body)],
    )
