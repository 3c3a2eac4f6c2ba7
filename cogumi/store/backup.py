"""Backup and restore of a ledger: one consistent copy into a SQLite file, and from one into any ledger URL."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.exc import DBAPIError

from cogumi.errors import InputError, RunError, StorageError
from cogumi.store.ledger_file import is_missing, ledger_file
from cogumi.store.schema import ATTEMPTS, BATCHES, MEMOS, open_engine, prepare, translate

_ROWS_A_WRITE = 500


def backup(source_url: str, run: str, destination: Path) -> int:
    """Copy a run's ledger into a new SQLite file, consistent even while the run goes on. Returns the attempts copied.

    Raises StorageError: backup-exists, disk-full, database-unreachable; RunError ledger-missing.
    """
    if is_missing(source_url):
        raise RunError("ledger-missing", f"{run}: no file {ledger_file(source_url)}")
    if destination.exists():
        raise StorageError("backup-exists", str(destination))
    return _copy(source_url, run, f"sqlite:///{destination}", run)


def restore(source: Path, run: str, destination_url: str, as_run: str) -> int:
    """Copy a backup into a ledger that does not hold the run yet. Returns the attempts copied."""
    _check_backup(source)
    return _copy(f"sqlite:///{source}", run, destination_url, as_run)


def runs_in(path: Path) -> list[str]:
    """The names of the runs in a backup file. Raises InputError backup-not-found."""
    _check_backup(path)
    engine = open_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            return list(connection.execute(select(ATTEMPTS.c.run).distinct().order_by(ATTEMPTS.c.run)).scalars())
    except DBAPIError as error:
        raise translate(error, engine) from error
    finally:
        engine.dispose()


def _check_backup(path: Path) -> None:
    """Opening a file that is not there would make one."""
    if not path.is_file():
        raise InputError("backup-not-found", str(path))


def _copy(source_url: str, run: str, destination_url: str, as_run: str) -> int:
    source, destination = open_engine(source_url), open_engine(destination_url)
    try:
        prepare(source)
        prepare(destination)
        with source.connect() as reading, destination.begin() as writing:
            if source.dialect.name == "postgresql":
                reading = reading.execution_options(isolation_level="REPEATABLE READ")
            held = select(func.count()).select_from(ATTEMPTS).where(ATTEMPTS.c.run == as_run)
            if writing.execute(held).scalar_one():
                raise StorageError("backup-exists", f"the destination already holds run {as_run!r}")
            with reading.begin():
                return sum(_copy_table(table, reading, run, writing, as_run) for table in (MEMOS, BATCHES, ATTEMPTS))
    except DBAPIError as error:
        raise translate(error, source, destination) from error
    finally:
        source.dispose()
        destination.dispose()


def _copy_table(table: Table, reading: Connection, run: str, writing: Connection, as_run: str) -> int:
    """Copy one table's rows of a run; returns the count for attempts, 0 for the others."""
    copied = 0
    found = reading.execution_options(yield_per=_ROWS_A_WRITE).execute(select(table).where(table.c.run == run))
    for part in found.mappings().partitions(_ROWS_A_WRITE):
        rows = [{**row, "run": as_run} for row in part]
        writing.execute(insert(table), rows)
        copied += len(rows)
    return copied if table is ATTEMPTS else 0
