"""A run whose ledger is lost: it has made rows, and its ledger is gone or holds no call.

refuse_without_ledger(folder, ledger)     # RunError ledger-missing
is_lost_file(path)                        # from files alone, without SQLAlchemy
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cogumi.errors import RunError
from cogumi.store.artifacts import RECEIPT
from cogumi.store.ledger_file import is_missing
from cogumi.store.run_folder import RunFolder, ledger_url

if TYPE_CHECKING:
    from cogumi.store.ledger import Ledger


def refuse_without_ledger(folder: RunFolder, ledger: Ledger) -> None:
    """Raises RunError ledger-missing where the run has made rows and its ledger holds no call: all would be bought
    again.
    """
    if is_lost(folder.path, ledger):
        raise RunError("ledger-missing", folder.name)


def is_lost(path: Path, ledger: Ledger) -> bool:
    """Whether the run in `path` has made rows and its ledger holds no call."""
    return _has_rows(path) and not ledger.has_attempts


def is_lost_file(path: Path) -> bool:
    """Whether the run in `path` has made rows and its ledger's file is gone."""
    return _has_rows(path) and is_missing(ledger_url(path))


def _has_rows(path: Path) -> bool:
    return (path / "dataset" / RECEIPT).is_file() or any(file.is_file() for file in (path / "shards").glob("*.json"))
