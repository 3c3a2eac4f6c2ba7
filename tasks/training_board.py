"""What the dashboard shows of training: a table of figures, and the curve of the loss."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cogumi.report.plots import ARMS, curve, image_url
from cogumi.store.run_folder import RunFolder
from cogumi.training.metrics import METRICS, loss_by_step
from tasks.dashboard import artifact_key

_SHOWN = ("parameters", "documents", "tokens", "steps", "resumed_from", "nll_first", "nll_last", "nll_unigram",
          "learned", "tokens_per_s", "seconds", "dataset", "artifact")  # fmt: skip


def show_training(folder: RunFolder, figures: dict[str, Any]) -> None:
    """A table and a curve for the run's page. A simulated run says so in both."""
    where = show_figures(folder, "base", "Base model", _SHOWN, figures)
    points = loss_by_step(folder.path / "base" / METRICS)
    if points:
        told = f"Training loss of {folder.name} by step, nats a token, on {where}"
        control = ("without context", float(figures["nll_unigram"]))
        plot = f"![{told}]({image_url(curve(points, told, control))})"
        create_markdown_artifact(plot, key=artifact_key(folder.name, "base-loss"), description=told)


_ADAPTER = (
    "verdict", "gain_mean", "gain_ci95", "sft_gain_mean", "losses_by_rate", "in_context_gain_mean", "episodes",
    "loss_first", "loss_last", "preset", "algorithm", "head", "parameters", "rows", "steps", "best_step",
    "resumed_from", "resumed_bit_exact", "rewinds", "tokens_per_s", "seconds", "cost_usd", "adapt_seconds",
    "merge_max_rel_err", "merge", "dataset", "base", "artifact",
)  # fmt: skip


def show_adapter(folder: RunFolder, figures: dict[str, Any]) -> None:
    """Figures, the closing table, and the curves of both arms. A simulated run says so."""
    where = show_figures(folder, "adapter", "Adapter", _ADAPTER, figures)
    if "table" in figures:
        create_table_artifact(
            [{**row, "loss": round(row["loss"], 4), "gain": round(row["gain"], 4)} for row in figures["table"]],
            key=artifact_key(folder.name, "adapter-comparison"),
            description=f"{figures['verdict']}; nats a token over {figures['episodes']} held-out episodes",
        )
    if "thinking" in figures:
        create_table_artifact(
            [row | {name: round(row[name], 4) for name in ("thinks", "direct")} for row in figures["thinking"]],
            key=artifact_key(folder.name, "thinking"),
            description="How held-out questions are answered: directly, or with draft and thinking; base and merged",
        )
    plots = []
    for arm, title in ARMS.items():
        points = loss_by_step(folder.path / "adapter" / f"{arm}.jsonl")
        if points:
            plots.append(f"![{title}]({image_url(curve(points, title))})")
    create_markdown_artifact(
        "\n\n".join(plots), key=artifact_key(folder.name, "adapter-loss"),
        description=f"Loss of {folder.name}'s adapter by step, nats a token, on {where}",
    )  # fmt: skip


def show_figures(folder: RunFolder, kind: str, title: str, names: tuple[str, ...], figures: dict[str, Any]) -> str:
    """A table of these figures; returns the device in words."""
    device = figures["device"]
    where = f"{device['name']}{', simulated: its speed says nothing' if device['simulated'] else ''}"
    rows = [{"figure": name, "value": str(figures[name])} for name in names if name in figures]
    create_table_artifact(
        [*rows, {"figure": "device", "value": where}],
        key=artifact_key(folder.name, kind),
        description=f"{title} of {folder.name}, on {where}",
    )
    return where
