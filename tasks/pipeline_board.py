"""What the dashboard shows of a pipeline: one row a phase, with what it made, where, and how long it took."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import acreate_table_artifact

from cogumi.lm.device import device_label
from cogumi.metrics.formatting import number
from tasks.dashboard import artifact_key


async def show_phases(run: str, made: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """`made` gives, by phase, the artifact's id and the metrics of its receipt."""
    rows = []
    for phase, (artifact_id, metrics) in made.items():
        device = metrics.get("device", {"name": "CPU", "simulated": False})
        rows.append(
            {
                "phase": phase,
                "artifact": artifact_id,
                "on": device_label(device),
                "seconds": number(metrics.get("seconds"), ",.1f"),
            }
        )
    await acreate_table_artifact(rows, key=artifact_key(run, "phases"), description=f"What each phase of {run} made")
