"""What the dashboard shows of a draft: its figures, and acceptance by draft and decoding."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_table_artifact

from cogumi.metrics.formatting import interval, number, percent
from cogumi.store.run_folder import RunFolder
from cogumi.training.figures import held_out_prompts, held_out_tasks
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
    create_table_artifact(
        acceptance_rows(figures),
        key=artifact_key(folder.name, "draft-acceptance"),
        description=f"{figures['verdict']}; {figures['prompts']} held-out prompts, on {where}",
    )


def acceptance_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a draft and decoding."""
    of, tasks = held_out_prompts(figures), held_out_tasks(figures)
    return [
        {"draft": row["draft"], "decoding": row["decoding"], "alpha": number(row["alpha"], ".4f", of),
         "alpha_ci95": interval(row["alpha_ci95"], ".4f", tasks), "length": number(row["length"], ".4f", of),
         "length_ci95": interval(row["length_ci95"], ".4f", tasks), "share": percent(row["share"], of=of)}
        for row in figures["table"]
    ]  # fmt: skip
