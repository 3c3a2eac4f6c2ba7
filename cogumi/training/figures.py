"""What the figures of a training stage are computed from; beside a figure that is null it is the reason.

interval(row["gain_ci95"], "+.4f", held_out_tasks(figures))         # "too few tasks (1)"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cogumi.metrics.formatting import Sample


def held_out_tasks(figures: Mapping[str, Any]) -> Sample:
    """The tasks that intervals of adapters and drafts are over, by the stage's figures."""
    count = figures.get("held_out_tasks")
    if count is None and isinstance(figures.get("tasks"), Mapping):  # a receipt that does not have it yet
        count = figures["tasks"].get("test")
    return Sample(count, "tasks")


def held_out_prompts(row: Mapping[str, Any]) -> Sample:
    """The prompts that shares and acceptance are over, by a row of a table."""
    return Sample(row.get("prompts"), "prompts", least=1)
