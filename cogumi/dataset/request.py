"""DatasetRequest: what a run of the dataset stage is started with, from the command line, a notebook or the
Prefect UI.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import ClassVar

from pydantic import Field, PrivateAttr

from cogumi.dataset.given import Given, read_questions
from cogumi.recipe import GivenSection, Recipe, as_of_period, load_recipe
from cogumi.store.requests import ROOT, RecipeRequest
from cogumi.store.versions import Versions
from cogumi.teachers.server.rehearsal import as_rehearsal


class DatasetRequest(RecipeRequest):
    """What to generate and where to put it. Keys never belong in it: name credentials blocks."""

    file: ClassVar[str] = "request.json"

    rehearse: bool = Field(False, description="the embedded provider instead of every teacher: no key, simulated cost")
    questions: list[str] = Field(default_factory=list, description="existing questions (.jsonl) instead of stage 1")
    dataset: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9._-]{0,62})?$",
        description="publish the result as the next version of this dataset",
    )
    period: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,30}$",
        description="what the rows are made anew for, such as 2026-W47; empty: the time the flow run was scheduled for",
    )
    versions: str = Field(
        "datasets", description="folder or fsspec URL (s3://...) that holds the versions, or block:NAME of a store"
    )
    approve: bool = Field(False, description="pause for an approval in the dashboard before the first paid call")
    rate_share: float = Field(
        1,
        gt=0,
        le=1,
        description="share of each provider's rate; runs wait until theirs is free (limits provider-NAME)",
    )
    results: str = Field(
        "", description="where Prefect keeps task results: a folder, s3://... or block:NAME; empty: the run's folder"
    )
    credentials: list[str] = Field(
        default_factory=list, description="provider-credentials blocks on the server whose keys the run uses"
    )
    recipe_block: str = Field("", description="a recipe block on the server, instead of `recipe`")
    root: str = Field(ROOT, description="folder that holds the runs")
    change: bool = Field(
        False,
        description="make an existing run anew by this recipe where it differs; what is finished moves to replaced/",
    )

    _read: tuple[tuple[tuple[str, ...], GivenSection], Given] | None = PrivateAttr(None)

    def load(self) -> Recipe:
        """The recipe as the request changes it. Raises as `load_recipe`."""
        recipe = load_recipe(self.recipe, self.overrides)
        return as_of_period(as_rehearsal(recipe) if self.rehearse else recipe, self.period)

    def read_questions(self, recipe: Recipe) -> Given | None:
        """The existing questions, or None; the files are read once. Raises InputError questions-unreadable,
        domain-unknown.
        """
        asked = (tuple(self.questions), recipe.dataset.given)
        if self.questions and (self._read is None or self._read[0] != asked):
            self._read = asked, read_questions([Path(path) for path in self.questions], recipe.dataset.given)
        return self._read[1] if self.questions and self._read else None

    def questions_told(self, recipe: Recipe) -> str:
        """What run.json tells of the existing questions; "" where stage 1 asks for them. Raises as `read_questions`."""
        given = self.read_questions(recipe)
        return given.summary if given else ""

    def named(self, period: str = "") -> DatasetRequest:
        """The request with its run and period filled in; `period` is used where a dataset is versioned without one."""
        period = self.period or (period if self.dataset else "")
        name = self.run or (f"{self.dataset}-{period}" if self.dataset else self.load().name)
        return self.model_copy(update={"run": name.strip("-"), "period": period})

    def open_versions(self) -> Versions | None:
        """The versions that the result joins, or None. Raises InputError version-name-refused."""
        return Versions(self.versions, self.dataset) if self.dataset else None

    @property
    def command(self) -> str:
        """The command that does this again, in any shell."""
        words = ["cogumi", "run", "dataset", "--recipe", self.recipe, "--run", self.run]
        words += [word for override in self.overrides for word in ("--set", override)]
        words += [word for path in self.questions for word in ("--questions", path)]
        words += ["--rehearse"] if self.rehearse else []
        if self.dataset:
            words += ["--dataset", self.dataset, "--period", self.period, "--versions", self.versions]
        words += ["--root", self.root] if self.root != ROOT else []
        words += ["--change"] if self.change else []
        return shlex.join(words)
