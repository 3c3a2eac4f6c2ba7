"""Batch: one batch at a provider, as the ledger keeps it. Recorded before the submission, its id before any polling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from cogumi.store.schema import BATCHES

BatchState = Literal["open", "ended", "cancelled", "refused", "lost"]


@dataclass(frozen=True, slots=True)
class Batch:
    """`label` is ours and travels with the batch, so that one whose id was never learned can be found again.

    `lost`: the provider knows nothing of it. `succeeded` and `failed` count its items.
    """

    label: str
    provider: str
    model: str
    stage: str
    requests: int
    bytes: int
    enqueued_tokens: int
    submitted_at: float
    provider_id: str = ""
    state: BatchState = "open"
    succeeded: int = 0
    failed: int = 0
    ended_at: float = 0.0


_FIELDS = tuple(Batch.__dataclass_fields__)
_NOTED = ("provider_id", "state", "succeeded", "failed", "ended_at")


def insert_batches(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(_INSERT, rows)


def update_batches(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(_UPDATE, rows)


def read_batches(engine: Engine, run: str) -> list[Batch]:
    """Every batch of a run, in the order submitted."""
    query = select(*(BATCHES.c[name] for name in _FIELDS)).where(BATCHES.c.run == run)
    with engine.connect() as connection:
        found = connection.execute(query.order_by(BATCHES.c.submitted_at, BATCHES.c.label))
        return [Batch(**row._mapping) for row in found]


_INSERT = insert(BATCHES)
_UPDATE = (
    update(BATCHES)
    .where(BATCHES.c.run == bindparam("b_run"), BATCHES.c.label == bindparam("b_label"))
    .values({name: bindparam(f"b_{name}") for name in _NOTED})
)
