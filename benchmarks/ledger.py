"""Durable rows a second: the ledger with group commit, against one transaction a row on the same disk."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Figure, report
from cogumi.store.ledger import Attempt, Ledger, Outcome

_REPLY = b"x" * 2000
_REQUEST = b"y" * 600


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    rows, writers = (2000 if quick else 20_000), 100
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        grouped, a_commit = asyncio.run(_grouped(Path(folder), rows, writers))
        single = _single(Path(folder), 200 if quick else 1000)
    figures = [
        Figure("durable rows a second, group commit", grouped, "rows/s", low=2000),
        Figure("rows a commit", a_commit, "rows"),
        Figure("durable rows a second, one commit a row", single, "rows/s"),
        Figure("group commit / one commit a row", grouped / single, "ratio"),
    ]
    report("ledger", figures, {"rows": rows, "writers": writers, "reply_bytes": len(_REPLY)}, save=save, table=table)


async def _grouped(folder: Path, rows: int, writers: int) -> tuple[float, float]:
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}", "bench")

    async def writer(number: int) -> None:
        for count in range(rows // writers // 2):
            key = f"{number:016d}{count:016d}"
            await ledger.intend(Attempt(key, 1, "bench", "loopback", "m", _REQUEST, 100, time.time()))
            await ledger.settle(Outcome(key, 1, "received", reply=_REPLY, cost_nanousd=1, finished_at=time.time()))

    began = time.perf_counter()
    await asyncio.gather(*(writer(number) for number in range(writers)))
    seconds = time.perf_counter() - began
    written, commits = ledger.written
    ledger.close()
    return written / seconds, written / commits


def _single(folder: Path, rows: int) -> float:
    connection = sqlite3.connect(folder / "single.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table rows (key text primary key, reply blob)")
    began = time.perf_counter()
    for number in range(rows):
        connection.execute("insert into rows values (?, ?)", (f"{number:032d}", _REPLY))
    seconds = time.perf_counter() - began
    connection.close()
    return rows / seconds
