"""What the dashboard shows of training: a table of figures, and the curve of the loss."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cogumi.report.plots import curve, image_url
from cogumi.store.run_folder import RunFolder
from cogumi.training.metrics import METRICS, read_metrics
from tasks.dashboard import artifact_key

_SHOWN = ("parameters", "documents", "tokens", "steps", "resumed_from", "nll_first", "nll_last", "nll_unigram",
          "learned", "tokens_per_s", "seconds", "dataset", "artifact")  # fmt: skip


def show_training(folder: RunFolder, figures: dict[str, Any]) -> None:
    """A table and a curve for the run's page. A simulated run says so in both."""
    device = figures["device"]
    where = f"{device['name']}{', simulated: its speed says nothing' if device['simulated'] else ''}"
    rows = [{"figure": name, "value": str(figures[name])} for name in _SHOWN if name in figures]
    create_table_artifact(
        [*rows, {"figure": "device", "value": where}],
        key=artifact_key(folder.name, "base"),
        description=f"Base model of {folder.name}, on {where}",
    )
    points = [(int(row["step"]), float(row["loss"])) for row in read_metrics(folder.path / "base" / METRICS)]
    if points:
        told = f"Training loss of {folder.name} by step, nats a token, on {where}"
        control = ("without context", float(figures["nll_unigram"]))
        plot = f"![{told}]({image_url(curve(points, told, control))})"
        create_markdown_artifact(plot, key=artifact_key(folder.name, "base-loss"), description=told)
