"""Requests: what flows are started with, by form, notebook or command line, and kept in a run's folder for `resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cogumi.errors import InputError, RunError
from cogumi.recipe import load_recipe, overrides_of_format, preset_names
from cogumi.store.files import read_json, write_json
from cogumi.store.run_folder import read_run

Override = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*=")]
"""KEY=VALUE; a form refuses anything else before a worker starts."""


ROOT = "runs"
"""The folder that holds the runs, where none is named."""


class KeptRequest(BaseModel):
    """The parameters of a flow. `file` is the name that each kind is kept under."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    file: ClassVar[str]

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """A request from values that a person gave. Raises InputError request-bad-value, which names the field."""
        try:
            return cls(**values)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
            raise InputError("request-bad-value", told) from None

    def keep(self, folder: Path) -> None:
        """Write the request beside run.json."""
        write_json(folder / self.file, self.model_dump(mode="json"))

    @classmethod
    def is_kept(cls, folder: Path) -> bool:
        return (folder / cls.file).is_file()

    @classmethod
    def kept(cls, folder: Path) -> Self:
        """The request a run was started with. Raises RunError run-not-found, run-without-request."""
        run = read_run(folder)
        if not cls.is_kept(folder):
            raise RunError("run-without-request", run["command"])
        values = read_json(folder / cls.file)
        if "overrides" in values:
            values["overrides"] = overrides_of_format(values["overrides"], int(run["format"]))
        return cls.model_validate(values)


class RecipeRequest(KeptRequest):
    """A request that runs one recipe. Keys never belong in it: it is stored on the server."""

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
    overrides: list[Override] = Field(default_factory=list, description="changes to the recipe, KEY=VALUE")

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
