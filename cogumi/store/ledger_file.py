"""The file of a ledger in SQLite, by its URL: known without SQLAlchemy, which takes a while to import.

ledger_file("sqlite:////runs/demo/ledger.db")     # the path; None for PostgreSQL
is_missing("sqlite:////runs/demo/ledger.db")      # True where nothing was ever bought, or the file is lost
"""

from __future__ import annotations

from pathlib import Path

_SQLITE = "sqlite:///"


def ledger_file(url: str) -> Path | None:
    """The file that a ledger's URL names; None where it names a database of another kind."""
    name = url.removeprefix(_SQLITE).partition("?")[0]
    return Path(name) if url.startswith(_SQLITE) and name not in ("", ":memory:") else None


def is_missing(url: str) -> bool:
    """Whether the URL names a SQLite file that is not there: opening it would make one."""
    file = ledger_file(url)
    return file is not None and not file.is_file()
