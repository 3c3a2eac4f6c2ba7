"""GroupCommit: many writers share one fsync. Each write is answered when its transaction is on disk.

While one transaction waits for the disk, the next writes gather; they go out together. One thread owns
the connection. A write that cannot be made durable fails its own future and nothing else.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from cogumi.errors import StorageError
from cogumi.store.schema import translate

Apply = Callable[[Connection, list[dict[str, Any]]], None]
_MOST_AT_ONCE = 2000


@dataclass(slots=True)
class _Write:
    kind: str
    row: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class GroupCommit:
    """Writes rows of several kinds durably; `kinds` gives, in the order they are applied, how each is written."""

    def __init__(self, engine: Engine, kinds: dict[str, Apply]) -> None:
        self._engine = engine
        self._kinds = kinds
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closed = False
        self.commits = 0
        self.rows = 0
        self._thread = threading.Thread(target=self._run, name="ledger-commit", daemon=True)
        self._thread.start()

    def write(self, kind: str, row: dict[str, Any]) -> asyncio.Future[None]:
        """Queue one row; the future ends when it is durable, or with a StorageError."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if self._closed:
            done.set_exception(StorageError("disk-error", "the ledger is closed"))
            return done
        self._queue.put(_Write(kind, row, loop, done))
        return done

    def close(self) -> None:
        """Write what is queued, then stop the thread. Idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            writes, last = self._gather()
            if writes:
                error = self._commit(writes)
                _answer(writes, error)

    def _gather(self) -> tuple[list[_Write], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        writes = [first]
        while len(writes) < _MOST_AT_ONCE:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return writes, True
            writes.append(more)
        return writes, False

    def _commit(self, writes: list[_Write]) -> StorageError | None:
        try:
            with self._engine.begin() as connection:
                for kind, apply in self._kinds.items():
                    rows = [write.row for write in writes if write.kind == kind]
                    if rows:
                        apply(connection, rows)
        except DBAPIError as error:
            return translate(error, self._engine)
        except OSError as error:
            return StorageError("disk-error", f"ledger: {error}")
        self.commits += 1
        self.rows += len(writes)
        return None


def _answer(writes: list[_Write], error: StorageError | None) -> None:
    """Wake the waiters, one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for write in writes:
        by_loop.setdefault(write.loop, []).append(write.done)
    for loop, futures in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, futures, error)
        except RuntimeError:  # the loop is closed: nobody waits any more, and the rows are on disk
            continue


def _settle(futures: list[asyncio.Future[None]], error: StorageError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
