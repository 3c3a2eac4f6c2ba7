"""KeptRequest: what a run was started with, kept in its folder, so that `cogumi resume` can start it again."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from cogumi.errors import RunError
from cogumi.store.files import read_json, write_json
from cogumi.store.run_folder import read_run


class KeptRequest(BaseModel):
    """The parameters of a flow. `file` is the name that each kind is kept under."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    file: ClassVar[str]

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
        return cls.model_validate(read_json(folder / cls.file))
