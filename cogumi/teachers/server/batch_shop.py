"""The provider's batches: kept on disk, so that they outlive a provider that is killed, worked off in the background.

A batch may meet a fault (see FAULTS): it can expire half-way, be refused, lose the reply to its submission, give
single items back as errors, or hand out a broken or missing result line.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import orjson

from cogumi.teachers.server.bill import Bill, named, tokens
from cogumi.teachers.server.dialects import ANTHROPIC, OPENAI, Asked, Dialect, Said

FAULTS = ("expire", "item-errors", "broken-line", "missing-line", "lost-submit", "look-503", "queue-full", "refuse")
_MIX = FAULTS[:6]  # what a run must get over by itself; the others are for scripts
_ITEM_ERRORS = ((500, "server_error"), (429, "rate_limit_exceeded"), (503, "overloaded"))
_BREATH = 25  # items between two looks at other work


@dataclass(slots=True)
class ShopBatch:
    """One batch. `status` is ours; each dialect has its own words for it. `results` holds one line an item, by id."""

    id: str
    dialect: str
    created: float
    expires: float
    items: int
    tokens: int
    metadata: dict[str, str] = field(default_factory=dict)
    source: str = ""  # id of the file it was made from
    status: str = "working"  # working -> done | expired | cancelled | refused
    fault: str = ""
    refusal: str = ""
    cancel: bool = False
    ended: float = 0.0
    looks: int = 0
    counts: dict[str, int] = field(default_factory=dict)


class Works(Protocol):
    """What the shop needs of the provider."""

    bill: Bill

    def understand(self, dialect: Dialect, body: dict[str, Any]) -> Asked: ...
    def answer_batched(self, asked: Asked, body: bytes) -> Said: ...


class BatchShop:
    """Files and batches under one folder; batches that were being worked on go on when the provider starts again."""

    def __init__(self, works: Works, folder: Path | None, delay_s: float, share: float, seed: int, script: list[str]):
        self._folder = folder
        self.batches: dict[str, ShopBatch] = {}
        self._works = works
        self._delay_s = delay_s
        self._share = share
        self._rng = Random(f"{seed}/batches")
        self._script = deque(script)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def folder(self) -> Path:
        """Made when the first file or batch comes in."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="loopback-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def wake(self) -> None:
        """Read what lies in the folder and go on with it. Called when the event loop runs."""
        if self._folder is None or not self._folder.is_dir():
            return
        for path in sorted(self.folder.glob("batch-*.json")):
            batch = ShopBatch(**orjson.loads(path.read_bytes()))
            self.batches[batch.id] = batch
            if batch.status == "working":
                self._start(batch)

    def keep_file(self, content: bytes) -> str:
        """Store an uploaded file; returns its id."""
        name = f"file-{hashlib.sha256(content).hexdigest()[:16]}-{time.time_ns() % 10**9:09d}"
        (self.folder / name).write_bytes(content)
        return name

    def read_file(self, name: str) -> bytes | None:
        """A stored file, or the results of a batch as one."""
        path = self.folder / name
        return path.read_bytes() if name.replace("-", "").replace(".", "").isalnum() and path.is_file() else None

    def open(
        self, dialect: str, lines: list[bytes], metadata: dict[str, str], source: str, window_s: float
    ) -> ShopBatch:
        """Take a batch in; the fault it will meet is drawn here."""
        name = f"batch-{hashlib.sha256(b'|'.join(lines[:3])).hexdigest()[:8]}-{time.time_ns()}"
        now = time.time()
        size = sum(tokens(line.decode("utf-8", "replace")) for line in lines)
        batch = ShopBatch(name, dialect, now, now + window_s, len(lines), size, metadata, source)
        batch.fault = self._draw()
        (self.folder / f"{name}.in").write_bytes(b"\n".join(lines))
        self.batches[name] = batch
        self._save(batch)
        return batch

    def begin(self, batch: ShopBatch) -> None:
        """Start working on a batch that was not refused."""
        self._start(batch)

    def refuse(self, batch: ShopBatch, why: str) -> None:
        batch.status, batch.refusal, batch.ended = "refused", why, time.time()
        self._save(batch)

    def enqueued(self) -> int:
        """Prompt tokens of the batches that are being worked on."""
        return sum(batch.tokens for batch in self.batches.values() if batch.status == "working")

    def results(self, batch: ShopBatch) -> Iterator[dict[str, Any]]:
        """One record an item, in no order: {"id", "kind": succeeded | errored | expired | canceled, ...}."""
        path = self.folder / f"{batch.id}.out"
        lines = path.read_bytes().splitlines() if path.is_file() else []
        rows = [orjson.loads(line) for line in lines]
        Random(batch.id).shuffle(rows)
        yield from rows

    def _draw(self) -> str:
        if self._script:
            name = self._script.popleft()
            return "" if name == "ok" else name
        return self._rng.choice(_MIX) if self._rng.random() < self._share else ""

    def _start(self, batch: ShopBatch) -> None:
        task = asyncio.get_running_loop().create_task(self._work(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, batch: ShopBatch) -> None:
        await asyncio.sleep(self._delay_s)
        lines = (self.folder / f"{batch.id}.in").read_bytes().split(b"\n")
        done = self._done_before(batch)
        charged = self._works.bill.charged_for(batch.id) if done else set()
        rng = Random(batch.id)
        with (self.folder / f"{batch.id}.out").open("ab") as out:
            for number, line in enumerate(lines):
                item = orjson.loads(line)
                if item["custom_id"] in done:
                    continue
                expired = batch.fault == "expire" and number >= len(lines) // 2
                kind = "canceled" if batch.cancel else "expired" if expired else ""
                row = {"kind": kind} if kind else self._answer(batch, item, charged, rng)
                out.write(orjson.dumps({"id": item["custom_id"], **row}) + b"\n")
                batch.counts[row["kind"]] = batch.counts.get(row["kind"], 0) + 1
                if number % _BREATH == _BREATH - 1:
                    out.flush()
                    await asyncio.sleep(0)
        batch.status = "cancelled" if batch.cancel else "expired" if batch.fault == "expire" else "done"
        batch.ended = time.time()
        self._save(batch)

    def _done_before(self, batch: ShopBatch) -> set[str]:
        """Items answered by an earlier life; a line torn by its end is cut off."""
        path = self.folder / f"{batch.id}.out"
        if not path.is_file():
            return set()
        whole = [line for line in path.read_bytes().split(b"\n")[:-1] if line]
        path.write_bytes(b"".join(line + b"\n" for line in whole))
        rows = [orjson.loads(line) for line in whole]
        batch.counts = {}
        for row in rows:
            batch.counts[row["kind"]] = batch.counts.get(row["kind"], 0) + 1
        return {row["id"] for row in rows}

    def _answer(self, batch: ShopBatch, item: dict[str, Any], charged: set[str], rng: Random) -> dict[str, Any]:
        dialect = OPENAI if batch.dialect == "openai" else ANTHROPIC
        content = item["body"] if batch.dialect == "openai" else item["params"]
        body = orjson.dumps(content)
        if rng.random() < (0.3 if batch.fault == "item-errors" else self._share):
            status, code = rng.choice(_ITEM_ERRORS)
            return {"kind": "errored", "status": status, "code": code}
        try:
            asked = self._works.understand(dialect, content)
        except (KeyError, TypeError, ValueError) as error:
            return {"kind": "errored", "status": 400, "code": "invalid_request_error", "message": repr(error)}
        except LookupError as error:
            return {"kind": "errored", "status": 404, "code": "not_found_error", "message": str(error)}
        said = self._works.answer_batched(asked, body)
        if named(body) not in charged:
            self._works.bill.charge(asked.model, said.counted, body, batch.id, batched=True)
        return {"kind": "succeeded", "reply": dialect.say(asked.model, said)}

    def _save(self, batch: ShopBatch) -> None:
        place = self.folder / f"{batch.id}.json"
        beside = place.with_suffix(".part")
        beside.write_bytes(orjson.dumps(asdict(batch)))
        beside.replace(place)
