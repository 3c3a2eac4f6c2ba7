"""ValidateRequest: what a validation is started with, and the models it is of. It needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cogumi.errors import RunError
from cogumi.recipe import Recipe
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.training.request import ModelRequest

_PUBLISHED = r"^([a-z0-9][a-z0-9._-]{0,62}(@(latest|v?[0-9]+))?)?$"
Open = Callable[[str], Versions]
"""The versions of a name, in the request's store."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to validate: `source` is a folder of this machine or a known hub id, `adapter` a folder where it is base
    and adapter unmerged, or nothing; `artifact_id` what it goes by.
    """

    name: str
    source: str
    adapter: str = ""
    artifact_id: str = ""
    revision: str = "main"


class ValidateRequest(ModelRequest):
    """Models of a run on the same rows."""

    file: ClassVar[str] = "validate-request.json"
    stage: ClassVar[str] = "validate"
    made: ClassVar[str] = "validation"
    published: ClassVar[tuple[str, ...]] = ("suite", "base", "adapter", "merged", "draft")

    suite: str = Field("", pattern=_PUBLISHED, description="NAME or NAME@VERSION of published rows; empty: made here")
    base: str = Field("", pattern=_PUBLISHED, description="a published base; empty: the recipe's, or the run's own")
    adapter: str = Field("", pattern=_PUBLISHED, description="a published adapter; empty: the run's own")
    merged: str = Field("", pattern=_PUBLISHED, description="a published merged model; empty: the run's own")
    draft: str = Field("", pattern=_PUBLISHED, description="a published draft; empty: the run's own")

    @property
    def suites(self) -> str:
        """The name that rows are published under."""
        return f"{self.name}-suite"


def fetch_models(request: ValidateRequest, recipe: Recipe, folder: RunFolder, opened: Open) -> list[Candidate]:
    """Base, trained (base and adapter unmerged), merged and draft, those that there are.

    Raises RunError models-too-few, version-not-found; StorageError artifact-damaged.
    """
    train = recipe.train
    base = _one(request.base, "base", folder, opened)
    revision = "main"
    if base is None and train is not None and train.base:
        base, revision = (train.base, train.base), train.revision
    adapter, merged, draft = (
        _one(getattr(request, name), name, folder, opened) for name in ("adapter", "merged", "draft")
    )
    found = []
    if base is not None:
        found.append(Candidate("base", base[0], "", base[1], revision))
        if adapter is not None:
            found.append(Candidate("trained", base[0], adapter[0], adapter[1], revision))
    found += [Candidate(name, *each) for name, each in _given(merged, draft)]
    if not found:
        raise RunError("models-too-few", str(folder.path))
    return found


def fetch_suite(request: ValidateRequest, folder: RunFolder, opened: Open) -> Path | None:
    """The folder of published rows; None where they are to be made here. Raises as fetch_models."""
    found = _one(request.suite, "", folder, opened)
    return Path(found[0]) if found else None


def _given(merged: tuple[str, str] | None, draft: tuple[str, str] | None) -> list[tuple[str, tuple[str, str, str]]]:
    named = (("merged", merged), ("draft", draft))
    return [(name, (each[0], "", each[1])) for name, each in named if each is not None]


def _one(asked: str, own: str, folder: RunFolder, opened: Open) -> tuple[str, str] | None:
    """A published model, fetched and checked, or the run's own where it has one: its folder and its id."""
    if asked:
        models = opened(asked.partition("@")[0])
        version = models.get(asked.partition("@")[2] or "latest")
        into = folder.path / "inputs" / f"{models.name}-{version.data}"
        return str(models.fetch(version.label, into)), f"{models.name}@{version.label}"
    place = folder.path / own
    if own and (place / "receipt.json").is_file():
        return str(place), f"{folder.name}/{own}"
    return None
