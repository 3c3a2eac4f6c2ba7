"""What the dashboard shows of a draft: its figures, and acceptance by draft and decoding."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_table_artifact

from cogumi.store.run_folder import RunFolder
from tasks.dashboard import artifact_key
from tasks.training_board import show_figures

_DRAFT = (
    "verdict", "draft_alpha", "draft_acceptance_length", "draft_alpha_greedy", "draft_acceptance_length_greedy",
    "over_sft", "proposals", "prompts", "answer_tokens", "parameters", "transplant", "parts", "seconds", "dataset",
    "target", "artifact",
)  # fmt: skip


_IMITATION = ("parameters", "transplant", "parts", "seconds", "dataset", "target", "artifact")


def show_imitation(folder: RunFolder, figures: dict[str, Any]) -> None:
    """A table for the run's page. A simulated run says so."""
    show_figures(folder, "draft-sft", "Draft on teacher text", _IMITATION, figures)


def show_draft(folder: RunFolder, figures: dict[str, Any]) -> None:
    """Two tables for the run's page. A simulated run says so."""
    where = show_figures(folder, "draft", "Draft model", _DRAFT, figures)
    rows = [
        {name: round(value, 4) if isinstance(value, float) else str(value) for name, value in row.items()}
        for row in figures["table"]
    ]
    create_table_artifact(
        rows,
        key=artifact_key(folder.name, "draft-acceptance"),
        description=f"{figures['verdict']}; {figures['prompts']} held-out prompts, on {where}",
    )
