"""Published: a dataset that was published, opened for reading. Every file is checked against the receipt first.

data = open_published(Path("runs/demo/dataset"))
data.to_pandas("train")["metadata.token_count"].sum()
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cogumi.dataset.split import PARTS, Part
from cogumi.errors import StorageError
from cogumi.extras import need
from cogumi.store.artifacts import verify
from cogumi.store.files import read_jsonl

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["complete", "prompt"]


@dataclass(frozen=True, slots=True)
class Published:
    """A dataset folder and its receipt."""

    path: Path
    receipt: dict[str, Any]

    @property
    def metrics(self) -> dict[str, Any]:
        """The stage's figures as they were when it was published."""
        return dict(self.receipt["metrics"])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row in the record of spec section 1.5."""
        (name,) = (n for n in self.receipt["files"] if n.startswith("training_") and n.endswith("_complete.jsonl"))
        return read_jsonl(self.path / name)

    def prompt_rows(self, part: Part | None = None) -> Iterator[dict[str, Any]]:
        """Rows in the record of section 1.12, of one part or of all in the order train, validation, test."""
        for name in (part,) if part else PARTS:
            if f"{name}.jsonl" in self.receipt["files"]:
                yield from read_jsonl(self.path / f"{name}.jsonl")

    def to_pandas(self, part: Part | None = None) -> pd.DataFrame:
        """One row a training row; nested fields as columns named "metadata.domain" and the like.

        Without a part: the complete records. With one: prompt, draft, thinking, response of that part.
        Raises InputError extra-missing where the extra `pandas` is not installed.
        """
        need("to_pandas", "pandas")
        import pandas as pd  # noqa: PLC0415 # half a second, for those who want a table

        return pd.json_normalize(list(self.rows() if part is None else self.prompt_rows(part)))


def open_published(path: Path) -> Published:
    """Open a dataset folder. Raises StorageError artifact-damaged where a file is not what the receipt says."""
    receipt = verify(path)
    if receipt["stage"] != "generate_dataset":
        raise StorageError("artifact-damaged", f"{path}: holds {receipt['stage']}, not a dataset")
    return Published(path, receipt)
