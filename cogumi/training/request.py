"""What runs of the training stages are started with. It needs no torch, so that any machine can ask."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from cogumi.errors import RunError
from cogumi.recipe import Recipe, as_of_period, load_recipe
from cogumi.store.requests import ROOT, RecipeRequest
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions

_PUBLISHED = r"^([a-z0-9][a-z0-9._-]{0,62}(@(latest|v?[0-9]+))?)?$"
"""NAME or NAME@VERSION; nothing for none."""


class ModelRequest(RecipeRequest):
    """Which dataset to train on. Data and models travel by their ids: NAME@vNNNN in a store."""

    stage: ClassVar[str]
    """As `cogumi run` calls it."""
    made: ClassVar[str]
    """What it makes: part of the name that it is published under."""
    published: ClassVar[tuple[str, ...]] = ()
    """Fields, beside `dataset`, that name what comes from the store; options of the command too."""

    dataset: str = Field(
        "",
        pattern=_PUBLISHED,
        description="NAME or NAME@VERSION of a published dataset; empty: the one in the run's own folder",
    )
    store: str = Field(
        "datasets", description="folder or fsspec URL (s3://...) that datasets and models lie in, or block:NAME"
    )
    period: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,30}$", description="the period of the run that it belongs to; part of the seed"
    )
    root: str = Field(ROOT, description="folder that holds the runs")
    change: bool = Field(
        False,
        description="make this stage's part of an existing run anew by this recipe where it differs; what is finished "
        "moves to replaced/",
    )

    @property
    def name(self) -> str:
        """The dataset's name without its version."""
        return self.dataset.partition("@")[0]

    @property
    def models(self) -> str:
        """The name that what is made from this dataset is published under."""
        return f"{self.name}-{self.made}"

    @property
    def version(self) -> str:
        return self.dataset.partition("@")[2] or "latest"

    def load(self) -> Recipe:
        """The recipe as the request changes it. Raises as `load_recipe`."""
        return as_of_period(load_recipe(self.recipe, self.overrides), self.period)

    def named(self) -> Self:
        """With its run filled in."""
        run = self.run or (f"{self.name}-{self.version}" if self.dataset else self.load().name)
        return self.model_copy(update={"run": run})

    @property
    def command(self) -> str:
        """The command that does this again, in any shell."""
        words = ["cogumi", "run", self.stage, "--recipe", self.recipe, "--run", self.run]
        words += [word for override in self.overrides for word in ("--set", override)]
        words += ["--period", self.period] if self.period else []
        published = [name for name in ("dataset", *self.published) if getattr(self, name)]
        words += [word for name in published for word in (f"--{name}", getattr(self, name))]
        words += ["--versions", self.store] if published else []
        words += ["--root", self.root] if self.root != ROOT else []
        words += ["--change"] if self.change else []
        return shlex.join(words)


class BaseRequest(ModelRequest):
    """A base model, trained from nothing."""

    file: ClassVar[str] = "base-request.json"
    stage: ClassVar[str] = "base"
    made: ClassVar[str] = "base"


class TrainRequest(ModelRequest):
    """Adapters on a base model."""

    file: ClassVar[str] = "train-request.json"
    stage: ClassVar[str] = "train"
    made: ClassVar[str] = "adapter"
    published: ClassVar[tuple[str, ...]] = ("base",)

    base: str = Field(
        "",
        pattern=_PUBLISHED,
        description="NAME or NAME@VERSION of a published base model; empty: the recipe's train.base, or the run's own",
    )

    @property
    def merged(self) -> str:
        """The name that base and adapter in one are published under."""
        return f"{self.name}-merged"

    @property
    def base_name(self) -> str:
        return self.base.partition("@")[0]


class DraftRequest(ModelRequest):
    """A draft model for a target that is at hand."""

    file: ClassVar[str] = "draft-request.json"
    stage: ClassVar[str] = "draft"
    made: ClassVar[str] = "draft"
    published: ClassVar[tuple[str, ...]] = ("target",)

    target: str = Field(
        "",
        pattern=_PUBLISHED,
        description="NAME or NAME@VERSION of a published target; empty: the recipe's draft.target, or the run's own",
    )

    imitation: str = Field(
        "",
        pattern=_PUBLISHED,
        description="NAME or NAME@VERSION of what train-draft-sft has published of this draft; empty: learned here",
    )

    @property
    def target_name(self) -> str:
        return self.target.partition("@")[0]

    @property
    def imitation_name(self) -> str:
        return self.imitation.partition("@")[0]

    @property
    def imitations(self) -> str:
        """The name that teacher text alone is published under."""
        return f"{self.name}-draft-sft"


class ImitationRequest(DraftRequest):
    """A draft's first part, teacher text alone; `target` is any model with the target's tokenizer, such as its base."""

    file: ClassVar[str] = "draft-sft-request.json"


def base_of_run(folder: RunFolder) -> str:
    """The base model that the run's adapter was trained on. Raises as fetch_base, and RunError run-without-request."""
    request = TrainRequest.kept(folder.path)
    models = Versions(request.store, request.base_name) if request.base else None
    return fetch_base(request, folder, models)[0]


def fetch_target(request: DraftRequest, folder: RunFolder, models: Versions | None) -> tuple[str, str]:
    """The draft's target (a folder on this machine, or a hub id) and its id: a published one, the recipe's, or the
    run's merged model; the run's base where it has no adapter.

    Raises RunError version-not-found, run-without-merged, run-without-base; StorageError artifact-damaged.
    """
    if models is not None:
        return _fetched(models, request.target, folder)
    recipe = request.load()
    draft, train = recipe.draft, recipe.train
    if draft is not None and draft.target:
        return draft.target, draft.target
    if isinstance(request, ImitationRequest) and train is not None and train.base:
        return train.base, train.base  # the target is not made yet, and has the words of its base
    for name in ("merged", "base"):
        if (folder.path / name / "receipt.json").is_file():
            return str(folder.path / name), f"{folder.name}/{name}"
        if name == "merged" and (folder.path / "adapter" / "receipt.json").is_file():
            raise RunError("run-without-merged", str(folder.path))
    raise RunError("run-without-base", str(folder.path))


def fetch_imitation(request: DraftRequest, folder: RunFolder, models: Versions | None) -> tuple[str, str] | None:
    """What was learned of teacher text elsewhere (a folder on this machine) and its id; None where none is named.

    Raises RunError version-not-found; StorageError artifact-damaged.
    """
    return None if models is None else _fetched(models, request.imitation, folder)


def fetch_base(request: TrainRequest, folder: RunFolder, models: Versions | None) -> tuple[str, str]:
    """The base model (a folder on this machine, or a hub id) and its id, fetched and checked where it lies in a store.

    Raises RunError version-not-found, run-without-base; StorageError artifact-damaged.
    """
    if models is not None:
        return _fetched(models, request.base, folder)
    train = request.load().train
    if train is not None and train.base:
        return train.base, train.base
    own = folder.path / "base"
    if not (own / "receipt.json").is_file():
        raise RunError("run-without-base", str(folder.path))
    return str(own), f"{folder.name}/base"


def fetch_dataset(request: ModelRequest, folder: RunFolder, datasets: Versions | None) -> tuple[Path, str]:
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


def _fetched(models: Versions, asked: str, folder: RunFolder) -> tuple[str, str]:
    version = models.get(asked.partition("@")[2] or "latest")
    into = folder.path / "inputs" / f"{models.name}-{version.data}"
    return str(models.fetch(version.label, into)), f"{models.name}@{version.label}"
