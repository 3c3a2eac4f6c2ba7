"""The ledger's tables, its schema version, and how an older ledger is brought up to date.

Money is kept in nano-dollars (1e-9 USD) as integers, so that sums are exact: the smallest price in use,
a cached token at $0.01 a million, is 10 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from cogumi.errors import StorageError
from cogumi.extras import need

METADATA = MetaData()

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("run", String(80), primary_key=True),
    Column("request_key", String(32), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("stage", String(40), nullable=False),
    Column("provider", String(40), nullable=False),
    Column("model", String(120), nullable=False),
    Column("state", String(8), nullable=False),  # intent -> received | failed | unknown
    Column("error_code", String(40), nullable=False, default=""),
    Column("http_status", Integer, nullable=False, default=0),
    Column("request", LargeBinary, nullable=False),
    Column("reply", LargeBinary),
    Column("prompt_tokens", Integer, nullable=False, default=0),
    Column("cached_tokens", Integer, nullable=False, default=0),
    Column("cache_written_tokens", Integer, nullable=False, default=0, server_default="0"),
    Column("completion_tokens", Integer, nullable=False, default=0),
    Column("cost_nanousd", BigInteger, nullable=False, default=0),
    Column("at_risk_nanousd", BigInteger, nullable=False, default=0),
    Column("sent_at", Float, nullable=False),
    Column("finished_at", Float, nullable=False, default=0),
    Column("waited_s", Float, nullable=False, default=0),
    Column("batch", String(40), nullable=False, default="", server_default=""),  # label under batches; "" for a call
    Index("attempts_by_state", "run", "state"),
    Index("attempts_by_batch", "run", "batch"),
)
"""One row per attempt at a provider call; see DESIGN section 4."""

BATCHES = Table(
    "batches",
    METADATA,
    Column("run", String(80), primary_key=True),
    Column("label", String(40), primary_key=True),  # ours, made before the provider knows of the batch
    Column("provider", String(40), nullable=False),
    Column("model", String(120), nullable=False),
    Column("stage", String(40), nullable=False),
    Column("provider_id", String(120), nullable=False, default=""),  # durable before the first look
    Column("state", String(10), nullable=False),  # open -> ended | cancelled | refused | lost
    Column("requests", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("enqueued_tokens", BigInteger, nullable=False),
    Column("succeeded", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("submitted_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False, default=0),
)
"""One row per batch at a provider. Its items are attempts with its label, `intent` until the batch has ended."""

MEMOS = Table(
    "memos",
    METADATA,
    Column("run", String(80), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Text, nullable=False),
)
"""Decisions that must be the same after a resume (sealed rounds)."""

META = Table("meta", METADATA, Column("name", String(40), primary_key=True), Column("value", Text, nullable=False))

SCHEMA_VERSION = 2
Migration = Callable[[Connection], None]


def _to_2(connection: Connection) -> None:
    """Batches, and prompt tokens written to a cache."""
    BATCHES.create(connection)
    for column in (ATTEMPTS.c.cache_written_tokens, ATTEMPTS.c.batch):
        kind = column.type.compile(connection.dialect)
        default = "0" if column is ATTEMPTS.c.cache_written_tokens else "''"
        connection.exec_driver_sql(f"ALTER TABLE attempts ADD COLUMN {column.name} {kind} NOT NULL DEFAULT {default}")
    connection.exec_driver_sql("CREATE INDEX attempts_by_batch ON attempts (run, batch)")


MIGRATIONS: dict[int, Migration] = {2: _to_2}
"""Version reached -> the step that reaches it from the one before. Steps run in one transaction."""


def open_engine(url: str) -> Engine:
    """An engine for a SQLite path URL (WAL, synchronous=FULL) or a PostgreSQL URL.

    Raises InputError extra-missing for the latter where the extra `postgres` is not installed.
    """
    if url.startswith("postgresql"):
        need("a ledger in PostgreSQL", "psycopg")
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", _sqlite_begin)
    return engine


def empty_engine() -> Engine:
    """An engine for a database in memory, which is gone with it."""
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def prepare(engine: Engine, version: int = SCHEMA_VERSION, migrations: dict[int, Migration] | None = None) -> None:
    """Create the tables, or migrate an older ledger, in one transaction.

    Raises StorageError: ledger-newer (nothing is changed), database-unreachable, database-damaged.
    """
    steps = MIGRATIONS if migrations is None else migrations
    try:
        with engine.begin() as connection:
            if not inspect(connection).has_table("meta"):
                METADATA.create_all(connection)
                connection.execute(insert(META).values(name="schema_version", value=str(version)))
                return
            found = int(connection.execute(select(META.c.value).where(META.c.name == "schema_version")).scalar_one())
            if found > version:
                raise StorageError("ledger-newer", f"schema {found}, this cogumi knows {version}")
            for step in range(found + 1, version + 1):
                steps[step](connection)
            connection.execute(update(META).where(META.c.name == "schema_version").values(value=str(version)))
    except DBAPIError as error:
        raise translate(error, engine) from error


def translate(error: DBAPIError, *engines: Engine) -> StorageError:
    """A database error as a StorageError that names SQLite's files; a URL, which may hold a password, is not in it."""
    cause = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
    files = [str(engine.url.database) for engine in engines if engine.dialect.name == "sqlite"]
    told, lowered = f"ledger{' '.join(['', *files])}: {cause}", cause.lower()
    if "full" in lowered or "no space" in lowered:
        return StorageError("disk-full", told)
    if "disk i/o" in lowered or "readonly" in lowered or "unable to open" in lowered:
        return StorageError("disk-error", told)
    if "malformed" in lowered or "not a database" in lowered:
        return StorageError("database-damaged", told)
    return StorageError("database-unreachable", told)


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction for DDL, so migrations would not be atomic
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
