"""What the server does by itself, as far as it can be told from its settings; tests/browser sees it done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.settings import get_current_settings

from deployments.automations import crash_when_silent
from deployments.site import HEARTBEAT_S


def test_a_killed_run_is_crashed_within_90_seconds_and_one_lost_heartbeat_kills_none() -> None:
    """At the latest: killed right after a heartbeat, and the server has just looked."""
    trigger: Any = crash_when_silent().trigger
    look = get_current_settings().server.events.proactive_granularity
    assert trigger.within + look <= timedelta(seconds=90 - 5)
    assert trigger.within > 2 * timedelta(seconds=HEARTBEAT_S)
