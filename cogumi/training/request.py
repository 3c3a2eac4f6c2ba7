"""BaseRequest: what a run of the base stage is started with. It needs no torch, so that any machine can ask."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cogumi.dataset.versions import as_of_period
from cogumi.errors import RunError
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.requests import RecipeRequest
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions


class BaseRequest(RecipeRequest):
    """Which dataset to train a base model on. Data and model travel by their ids: NAME@vNNNN in a store."""

    file: ClassVar[str] = "base-request.json"

    dataset: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9._-]{0,62}(@(latest|v?[0-9]+))?)?$",
        description="NAME or NAME@VERSION of a published dataset; empty: the one in the run's own folder",
    )
    store: str = Field(
        "datasets", description="folder or fsspec URL (s3://...) that datasets and models lie in, or block:NAME"
    )
    period: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,30}$", description="the period of the run that it belongs to; part of the seed"
    )
    root: str = Field("runs", description="folder that holds the runs")

    @property
    def name(self) -> str:
        """The dataset's name without its version."""
        return self.dataset.partition("@")[0]

    @property
    def models(self) -> str:
        """The name that the base models made from this dataset are published under."""
        return f"{self.name}-base"

    @property
    def version(self) -> str:
        return self.dataset.partition("@")[2] or "latest"

    def load(self) -> Recipe:
        return as_of_period(load_recipe(self.recipe, self.overrides), self.period)

    def named(self) -> BaseRequest:
        """With its run filled in."""
        run = self.run or (f"{self.name}-{self.version}" if self.dataset else self.load().name)
        return self.model_copy(update={"run": run})

    @property
    def command(self) -> str:
        """The command that does this again."""
        parts = ["cogumi run base", f"--recipe {self.recipe}", f"--run {self.run}"]
        parts += [f"--set {override}" for override in self.overrides]
        parts += [f"--period {self.period}"] if self.period else []
        parts += [f"--dataset {self.dataset} --versions {self.store}"] if self.dataset else []
        return " ".join(parts)


def fetch_dataset(request: BaseRequest, folder: RunFolder, datasets: Versions | None) -> tuple[Path, str]:
    """The dataset's folder on this machine and its id, fetched and checked where it lies in a store.

    Raises RunError version-not-found, run-without-dataset; StorageError artifact-damaged.
    """
    if datasets is None:
        if not (folder.dataset / "receipt.json").is_file():
            raise RunError("run-without-dataset", str(folder.path))
        return folder.dataset, folder.name
    version = datasets.get(request.version)
    into = folder.path / "inputs" / f"{datasets.name}-{version.data}"
    return datasets.fetch(version.label, into), f"{datasets.name}@{version.label}"
