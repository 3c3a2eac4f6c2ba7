"""Trackers: training metrics also in Trackio, Weights & Biases, MLflow or TensorBoard, beside the run's own files.

    with open_trackers(["tensorboard"], "demo", Path("runs/demo/tracking"), config) as trackers:
        trackers.log({"meta/loss": 1.2}, step=7)
    trackers.failed                                     # {"wandb": "ConnectionError: ..."}

Each writes where its own settings say (MLFLOW_TRACKING_URI, WANDB_API_KEY, ...), and into the run's folder otherwise. A
tracker that fails is left out from then on and told of at the end: metrics are not worth a training run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from cogumi.extras import need

_PROJECT = "cogumi"


class Tracker(Protocol):
    """Somewhere that metrics go."""

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files below a folder, for `tensorboard --logdir`."""

    def __init__(self, run: str, place: Path, config: Mapping[str, Any]) -> None:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(place / "tensorboard" / run))
        self._writer.add_text("recipe", "\n".join(f"    {name}: {value}" for name, value in config.items()))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Mlflow:
    """The server of MLFLOW_TRACKING_URI, or a database in the folder."""

    def __init__(self, run: str, place: Path, config: Mapping[str, Any]) -> None:
        mlflow = import_module("mlflow")
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            place.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(f"sqlite:///{(place / 'mlflow.db').resolve()}")
        self._client = mlflow.MlflowClient()
        held = self._client.get_experiment_by_name(_PROJECT)
        experiment = held.experiment_id if held else self._client.create_experiment(_PROJECT)
        self._id = self._client.create_run(experiment, run_name=run).info.run_id
        for name, value in config.items():
            self._client.log_param(self._id, name, value)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        metric, now = import_module("mlflow.entities").Metric, int(time.time() * 1000)
        self._client.log_batch(self._id, [metric(name, value, now, step) for name, value in metrics.items()])

    def close(self) -> None:
        self._client.set_terminated(self._id)


class Wandb:
    """The account of WANDB_API_KEY; without one, or where WANDB_MODE says offline, files for `wandb sync`."""

    def __init__(self, run: str, place: Path, config: Mapping[str, Any]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        start, quiet = import_module("wandb").init, {"silent": True}
        self._run = start(project=_PROJECT, name=run, dir=str(place), mode=mode, config=dict(config), settings=quiet)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A database in the folder (TRACKIO_DIR says another place), for `trackio show`."""

    def __init__(self, run: str, place: Path, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(place / "trackio"))  # read when it is imported
        self._trackio = import_module("trackio")
        self._run = self._trackio.init(project=_PROJECT, name=run, config=dict(config), embed=False)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._trackio.finish()  # the run's own finish is done once more when the process ends


KINDS: dict[str, tuple[str, Callable[[str, Path, Mapping[str, Any]], Tracker]]] = {
    "trackio": ("trackio", Trackio),
    "wandb": ("wandb", Wandb),
    "mlflow": ("mlflow", Mlflow),
    "tensorboard": ("tensorboard", TensorBoard),
}
"""The package and the adapter, by the name in a recipe."""


class Trackers:
    """Those that are on."""

    def __init__(self) -> None:
        self._on: dict[str, Tracker] = {}
        self.failed: dict[str, str] = {}
        """What went wrong, by tracker."""

    def start(self, name: str, run: str, place: Path, config: Mapping[str, Any]) -> None:
        def begin() -> None:
            self._on[name] = KINDS[name][1](run, place, config)

        self._try(name, begin)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """To each of them; steps count up."""
        for name, tracker in list(self._on.items()):
            self._try(name, lambda tracker=tracker: tracker.log(metrics, step))  # type: ignore[misc]

    def close(self) -> None:
        for name, tracker in list(self._on.items()):
            self._try(name, tracker.close)

    def _try(self, name: str, call: Callable[[], None]) -> None:
        try:
            with redirect_stdout(StringIO()):  # what they print has no place in a command's output
                call()
        except Exception as error:  # noqa: BLE001 - of any of four libraries and the network behind them
            self._on.pop(name, None)
            self.failed[name] = f"{type(error).__name__}: {str(error)[:200]}"


@contextmanager
def open_trackers(names: Sequence[str], run: str, place: Path, config: Mapping[str, Any]) -> Iterator[Trackers]:
    """The trackers of these names, closed at the end of the block, whatever ends it."""
    trackers = Trackers()
    for name in names:
        trackers.start(name, run, place, config)
    try:
        yield trackers
    finally:
        trackers.close()


def check_trackers(names: Sequence[str]) -> None:
    """Raises InputError extra-missing where one's package is not installed."""
    need("train.trackers", *(KINDS[name][0] for name in names))
