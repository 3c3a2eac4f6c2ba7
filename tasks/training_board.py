"""What the dashboard shows of training: a table of figures, and the curve of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cogumi.metrics.formatting import described, interval, number, percent
from cogumi.report.plots import ARMS, curve, image_url
from cogumi.store.run_folder import RunFolder
from cogumi.training.figures import held_out_prompts, held_out_tasks
from cogumi.training.metrics import METRICS, loss_by_step
from tasks.dashboard import artifact_key

_SHOWN = ("parameters", "documents", "tokens", "steps", "resumed_from", "nll_first", "nll_last", "nll_unigram",
          "learned", "tokens_per_s", "seconds", "dataset", "artifact")  # fmt: skip


def show_training(folder: RunFolder, figures: dict[str, Any]) -> None:
    """A table and a curve for the run's page. A simulated run says so in both."""
    where = show_figures(folder, "base", "Base model", _SHOWN, figures)
    points = loss_by_step(folder.path / "base" / METRICS)
    if points:
        told = f"Training loss of {folder.name} by step, nats per token, on {where}"
        control = ("without context", figures["nll_unigram"])
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
            comparison_rows(figures),
            key=artifact_key(folder.name, "adapter-comparison"),
            description=f"{figures['verdict']}; nats per token over {figures['episodes']} held-out episodes",
        )
    if "thinking" in figures:
        create_table_artifact(
            thinking_rows(figures),
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
        description=f"Loss of {folder.name}'s adapter by step, nats per token, on {where}",
    )  # fmt: skip


def comparison_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a model and use."""
    of = held_out_tasks(figures)
    return [
        {"model": row["model"], "way": row["way"], "loss": number(row["loss"], ".4f", of),
         "loss_ci95": interval(row["loss_ci95"], ".4f", of), "gain": number(row["gain"], "+.4f", of),
         "gain_ci95": interval(row["gain_ci95"], "+.4f", of)}
        for row in figures["table"]
    ]  # fmt: skip


def thinking_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a model and difficulty."""
    return [
        {"model": row["model"], "difficulty": row["difficulty"], "prompts": row["prompts"],
         "thinks": percent(row["thinks"], of=of), "thinks_ci95": interval(row["thinks_ci95"], ".1%", of),
         "direct": percent(row["direct"], of=of)}
        for row, of in ((row, held_out_prompts(row)) for row in figures["thinking"])
    ]  # fmt: skip


def figure_rows(names: Sequence[str], figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a figure, of those that there are."""
    of = held_out_tasks(figures)
    return [{"figure": name, "value": described(name, figures[name], of)} for name in names if name in figures]


def show_figures(folder: RunFolder, kind: str, title: str, names: tuple[str, ...], figures: dict[str, Any]) -> str:
    """A table of these figures; returns the device in words."""
    device = figures["device"]
    where = f"{device['name']}{', simulated: its speed says nothing' if device['simulated'] else ''}"
    create_table_artifact(
        [*figure_rows(names, figures), {"figure": "device", "value": where}],
        key=artifact_key(folder.name, kind),
        description=f"{title} of {folder.name}, on {where}",
    )
    return where
