"""DatasetRequest: what a run of the dataset stage is started with, from the command line, a notebook or the
Prefect UI.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from cogumi.dataset.given import Given, read_questions
from cogumi.dataset.versions import as_of_period
from cogumi.errors import InputError
from cogumi.recipe import Recipe, load_recipe, preset_names
from cogumi.store.requests import KeptRequest
from cogumi.store.versions import Versions
from cogumi.teachers.server.rehearsal import as_rehearsal


class DatasetRequest(KeptRequest):
    """What to generate and where to put it. Keys never belong in it: name credentials blocks."""

    file: ClassVar[str] = "request.json"

    recipe: str = Field(
        "tiny",
        description="a preset; from the command line also a path to a YAML file",
        json_schema_extra={"enum": list(preset_names())},  # the form's dropdown
    )
    run: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,79})?$",
        description="name of the run, whose folder lies under root; empty: of dataset and period, or of the recipe",
    )
    overrides: list[str] = Field(default_factory=list, description="changes to the recipe, KEY=VALUE")
    rehearse: bool = Field(False, description="the embedded provider in place of every teacher: no key, play money")
    questions: list[str] = Field(default_factory=list, description="existing questions (.jsonl) in place of stage 1")
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
    recipe_block: str = Field("", description="a recipe block on the server, in place of `recipe`")
    root: str = Field("runs", description="folder that holds the runs")

    @field_validator("overrides")
    @classmethod
    def _no_keys(cls, overrides: list[str]) -> list[str]:
        """Refuse what looks like a key before it is stored anywhere; the recipe's own check does the work."""
        for override in overrides:
            try:
                load_recipe("tiny", [f"purpose={override.partition('=')[2] or 'x'}"])
            except InputError as error:
                if error.code == "secret-in-recipe":
                    raise ValueError(
                        "an override looks like an API key; name an environment variable instead"
                    ) from None
        return overrides

    def load(self) -> Recipe:
        recipe = load_recipe(self.recipe, self.overrides)
        return as_of_period(as_rehearsal(recipe) if self.rehearse else recipe, self.period)

    def read_questions(self, recipe: Recipe) -> Given | None:
        """The existing questions, or None. Raises InputError questions-unreadable."""
        paths = [Path(path) for path in self.questions]
        return read_questions(paths, recipe.dataset.given) if paths else None

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
        """The command that does this again."""
        parts = ["cogumi run dataset", f"--recipe {self.recipe}", f"--run {self.run}"]
        parts += [f"--set {override}" for override in self.overrides]
        parts += [f"--questions {Path(path)}" for path in self.questions]
        parts += ["--rehearse"] if self.rehearse else []
        parts += [f"--dataset {self.dataset} --period {self.period} --versions {self.versions}"] if self.dataset else []
        return " ".join(parts)
