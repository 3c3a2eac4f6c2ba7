"""Ledger: the source of truth for every paid reply. SQLite by default, PostgreSQL by URL, the same code.

    ledger = Ledger.open("sqlite:///runs/demo/ledger.db", run="demo")
    await ledger.intend(attempt)          # durable before the send          (contract C2)
    await ledger.received(key, 1, ...)    # durable before the reply counts  (contract C1)
    ledger.reply(key)                     # the raw bytes, never bought again

Opening marks what was in flight at a crash as `unknown`, its worst-case price at risk (C3); items of open batches
stay `intent`, since the provider still has them. One process writes one run: the run folder's lock sees to that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import orjson
from sqlalchemy import Connection, Engine, Select, and_, bindparam, case, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError

from cogumi.store.batch_rows import Batch, insert_batches, read_batches, update_batches
from cogumi.store.group_commit import GroupCommit
from cogumi.store.ledger_file import is_missing
from cogumi.store.schema import ATTEMPTS, MEMOS, empty_engine, open_engine, prepare, translate

State = Literal["intent", "received", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known before the send. `at_risk_nanousd` is the most this attempt can cost."""

    request_key: str
    attempt: int
    stage: str
    provider: str
    model: str
    request: bytes
    at_risk_nanousd: int
    sent_at: float
    batch: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known after it.

    `at_risk_nanousd` stays above 0 where the provider may have billed without our knowing.
    """

    request_key: str
    attempt: int
    state: State
    error_code: str = ""
    http_status: int = 0
    reply: bytes | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_written_tokens: int = 0
    completion_tokens: int = 0
    cost_nanousd: int = 0
    at_risk_nanousd: int = 0
    finished_at: float = 0.0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a run; the provider's bill lies between cost and cost + at-risk."""

    received: int
    failed: int
    unknown: int
    cost_nanousd: int
    at_risk_nanousd: int


@dataclass(frozen=True, slots=True)
class _Keys:
    """Requests that have their reply, and the attempts made by request."""

    replied: set[str]
    attempts: dict[str, int]


class Ledger:
    """All attempts and memos of one run."""

    def __init__(self, engine: Engine, run: str) -> None:
        self.engine = engine
        self.run = run
        self._memo_insert = pg_insert(MEMOS) if engine.dialect.name == "postgresql" else sqlite_insert(MEMOS)
        kinds = {"batch": insert_batches, "intent": self._insert, "outcome": self._update, "memo": self._memo}
        self._commits = GroupCommit(engine, {**kinds, "batch-note": update_batches})

    @staticmethod
    def open(url: str, run: str) -> Ledger:
        """Create or open; attempts left in flight by a crash become `unknown`.

        Raises StorageError: ledger-newer, database-unreachable, database-damaged, disk-full, disk-error.
        """
        engine = open_engine(url)
        prepare(engine)
        try:
            with engine.begin() as connection:
                in_flight = and_(ATTEMPTS.c.run == run, ATTEMPTS.c.state == "intent", ATTEMPTS.c.batch == "")
                left = update(ATTEMPTS).where(in_flight)
                connection.execute(
                    left.values(state="unknown", error_code="crashed-in-flight", finished_at=time.time())
                )
            ledger = Ledger(engine, run)
            ledger.load_keys()
            return ledger
        except DBAPIError as error:
            raise translate(error, engine) from error

    @classmethod
    def view(cls, url: str, run: str) -> Self:
        """Open for reading beside a run that may be going on: nothing is marked. A missing SQLite file is read as an
        empty ledger, and none is made.
        """
        engine = empty_engine() if is_missing(url) else open_engine(url)
        prepare(engine)
        return cls(engine, run)

    def load_keys(self) -> None:
        """Read which requests have been made, now instead of when first asked."""
        self._keys  # noqa: B018 # read once, then kept

    def close(self) -> None:
        """Write what is queued and let go of the database. Idempotent."""
        self._commits.close()
        self.engine.dispose()

    # -- writing

    def intend(self, attempt: Attempt) -> asyncio.Future[None]:
        """Record an attempt before its send; await the result, then send."""
        self._keys.attempts[attempt.request_key] = attempt.attempt
        return self._commits.write("intent", {"run": self.run, "state": "intent", **_fields(attempt)})

    async def settle(self, outcome: Outcome) -> None:
        """Record how an attempt ended; on return it is durable."""
        await self._commits.write("outcome", {"b_run": self.run, **{f"b_{k}": v for k, v in _fields(outcome).items()}})
        if outcome.state == "received":
            self._keys.replied.add(outcome.request_key)

    async def remember(self, name: str, value: Any) -> None:
        """Keep a decision; the first one kept under a name stays."""
        await self._commits.write("memo", {"run": self.run, "name": name, "value": orjson.dumps(value).decode()})

    async def open_batch(self, batch: Batch) -> None:
        """Record a batch before it is submitted."""
        await self._commits.write("batch", {"run": self.run, **_fields(batch)})

    async def note_batch(self, batch: Batch) -> None:
        """Record what has become of a batch: its provider id, its state, its counts."""
        await self._commits.write("batch-note", {"b_run": self.run, **{f"b_{k}": v for k, v in _fields(batch).items()}})

    # -- reading

    def batches(self) -> list[Batch]:
        """Every batch of the run, in the order submitted."""
        return read_batches(self.engine, self.run)

    def batch_items(self, label: str) -> list[Attempt]:
        """The attempts of a batch that have no outcome yet."""
        columns = [ATTEMPTS.c[name] for name in Attempt.__dataclass_fields__]
        query = select(*columns).where(
            ATTEMPTS.c.run == self.run, ATTEMPTS.c.batch == label, ATTEMPTS.c.state == "intent"
        )
        with self.engine.connect() as connection:
            return [Attempt(**row._mapping) for row in connection.execute(query)]

    def batch_outcomes(self, label: str) -> dict[str, int]:
        """How many attempts of a batch are in each state."""
        query = (
            select(ATTEMPTS.c.state, func.count())
            .where(ATTEMPTS.c.run == self.run, ATTEMPTS.c.batch == label)
            .group_by(ATTEMPTS.c.state)
        )
        with self.engine.connect() as connection:
            return {state: count for state, count in connection.execute(query)}

    def has_reply(self, request_key: str) -> bool:
        return request_key in self._keys.replied

    def attempts_made(self, request_key: str) -> int:
        return self._keys.attempts.get(request_key, 0)

    def reply(self, request_key: str) -> tuple[bytes, float] | None:
        """The raw body of the complete reply to a request and when it was complete (Unix time), or None."""
        if request_key not in self._keys.replied:
            return None
        with self.engine.connect() as connection:
            rows = connection.execute(self.attempts_query(request_key)).all()
        return next(((reply, finished_at) for state, reply, finished_at in rows if state == "received"), None)

    def attempts_query(self, request_key: str) -> Select[Any]:
        """State, reply and end of the attempts at a request. The state is no condition of it: SQLite would take the
        index by state, and read every received row of the run for one reply.
        """
        return select(ATTEMPTS.c.state, ATTEMPTS.c.reply, ATTEMPTS.c.finished_at).where(
            ATTEMPTS.c.run == self.run, ATTEMPTS.c.request_key == request_key
        )

    def recall(self, name: str) -> Any | None:
        """The decision kept under a name, or None."""
        query = select(MEMOS.c.value).where(MEMOS.c.run == self.run, MEMOS.c.name == name)
        with self.engine.connect() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else orjson.loads(found)

    def totals(self) -> Totals:
        """Counts and money of the whole run."""
        state, cost, risk = ATTEMPTS.c.state, ATTEMPTS.c.cost_nanousd, ATTEMPTS.c.at_risk_nanousd
        counts = [
            func.coalesce(func.sum(case((state == name, 1), else_=0)), 0) for name in ("received", "failed", "unknown")
        ]
        sums = [func.coalesce(func.sum(cost), 0), func.coalesce(func.sum(risk), 0)]
        with self.engine.connect() as connection:
            row = connection.execute(select(*counts, *sums).where(ATTEMPTS.c.run == self.run)).one()
        return Totals(*(int(value) for value in row))

    def table(self, *groups: str) -> list[dict[str, Any]]:
        """Attempts, tokens, money and waits summed by columns of the ledger, for reports."""
        by = [ATTEMPTS.c[name] for name in groups]
        sums = [
            func.sum(ATTEMPTS.c[name]).label(name)
            for name in (
                "prompt_tokens",
                "cached_tokens",
                "cache_written_tokens",
                "completion_tokens",
                "cost_nanousd",
                "at_risk_nanousd",
                "waited_s",
            )
        ]
        query = (
            select(*by, func.count().label("attempts"), *sums)
            .where(ATTEMPTS.c.run == self.run)
            .group_by(*by)
            .order_by(*by)
        )
        with self.engine.connect() as connection:
            return [{str(k): _plain(v) for k, v in row._mapping.items()} for row in connection.execute(query)]

    def failures(self) -> list[dict[str, Any]]:
        """Attempts without a usable reply by provider and error code, most first: how many, and the seconds that the
        next attempt at the same request then waited.
        """
        failed, after = ATTEMPTS.alias("failed"), ATTEMPTS.alias("after")
        same = and_(
            after.c.run == failed.c.run,
            after.c.request_key == failed.c.request_key,
            after.c.attempt == failed.c.attempt + 1,
        )
        count, waited = func.count().label("count"), func.coalesce(func.sum(after.c.waited_s), 0.0).label("waited_s")
        query = (
            select(failed.c.provider, failed.c.error_code.label("code"), count, waited)
            .select_from(failed.outerjoin(after, same))
            .where(failed.c.run == self.run, failed.c.state.in_(("failed", "unknown")))
            .group_by(failed.c.provider, failed.c.error_code)
            .order_by(count.desc(), failed.c.provider, failed.c.error_code)
        )
        with self.engine.connect() as connection:
            return [{str(name): value for name, value in row._mapping.items()} for row in connection.execute(query)]

    def rows(self, *columns: str) -> Iterator[dict[str, Any]]:
        """Every attempt in the order sent, with the columns asked for."""
        query = (
            select(*(ATTEMPTS.c[name] for name in columns))
            .where(ATTEMPTS.c.run == self.run)
            .order_by(ATTEMPTS.c.sent_at)
        )
        with self.engine.connect() as connection:
            for row in connection.execution_options(yield_per=500).execute(query):
                yield dict(row._mapping)

    @property
    def written(self) -> tuple[int, int]:
        """Rows made durable by this process, and the commits they shared."""
        return self._commits.rows, self._commits.commits

    @property
    def replies(self) -> int:
        return len(self._keys.replied)

    @property
    def has_attempts(self) -> bool:
        """Whether the run has ever made a call."""
        with self.engine.connect() as connection:
            query = select(ATTEMPTS.c.run).where(ATTEMPTS.c.run == self.run).limit(1)
            return connection.execute(query).first() is not None

    # -- inside

    @cached_property
    def _keys(self) -> _Keys:
        received = func.max(case((ATTEMPTS.c.state == "received", 1), else_=0))
        query = (
            select(ATTEMPTS.c.request_key, func.max(ATTEMPTS.c.attempt), received)
            .where(ATTEMPTS.c.run == self.run)
            .group_by(ATTEMPTS.c.request_key)
        )
        with self.engine.connect() as connection:
            found = connection.execute(query).all()
        return _Keys({key for key, _, has in found if has}, {key: attempts for key, attempts, _ in found})

    @staticmethod
    def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
        connection.execute(_INSERT, rows)

    @staticmethod
    def _update(connection: Connection, rows: list[dict[str, Any]]) -> None:
        connection.execute(_UPDATE, rows)

    def _memo(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        connection.execute(self._memo_insert.on_conflict_do_nothing(), rows)


_OUTCOME_COLUMNS = [f for f in Outcome.__dataclass_fields__ if f not in ("request_key", "attempt")]
_INSERT = insert(ATTEMPTS)
_UPDATE = (
    update(ATTEMPTS)
    .where(
        ATTEMPTS.c.run == bindparam("b_run"),
        ATTEMPTS.c.request_key == bindparam("b_request_key"),
        ATTEMPTS.c.attempt == bindparam("b_attempt"),
    )
    .values({name: bindparam(f"b_{name}") for name in _OUTCOME_COLUMNS})
)


def _fields(value: Attempt | Outcome | Batch) -> dict[str, Any]:
    """A frozen slots dataclass as a flat dict; asdict would copy the reply bytes' container recursively."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _plain(value: Any) -> Any:
    return int(value) if type(value).__name__ == "Decimal" else value
