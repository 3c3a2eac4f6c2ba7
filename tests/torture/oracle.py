"""The oracle: the provider's bill and the ledger's rows, read with nothing but the standard library.

It imports no cogumi code on purpose: a mistake of the ledger must not excuse itself.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Accounts:
    """What both sides say about a run."""

    billed: int  # nano-dollars
    charges: int
    known: int
    at_risk: int
    received: int
    unknown: int


def check_money(folder: Path, bill: Path | None = None) -> Accounts:
    """Assert the contract C1-C4 on a run folder, finished or not."""
    charges = [line.split("\t") for line in (bill or folder / "provider_bill.tsv").read_text().splitlines()]
    with sqlite3.connect(folder / "ledger.db") as connection:
        rows = connection.execute(
            "select request_key, attempt, state, cost_nanousd, at_risk_nanousd, request, length(reply) from attempts"
        ).fetchall()
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    billed = sum(int(charge[4]) for charge in charges)
    known, at_risk = sum(row[3] for row in rows), sum(row[4] for row in rows)
    # An attempt still marked as intent is in flight or was killed there: its worst case is already in at_risk.
    assert known <= billed <= known + at_risk, (known, billed, at_risk)
    _nothing_bought_twice(charges, rows)
    states = Counter(row[2] for row in rows)
    assert all(row[6] for row in rows if row[2] == "received"), "a received reply without its bytes"
    return Accounts(billed, len(charges), known, at_risk, states["received"], states["unknown"] + states["intent"])


def _nothing_bought_twice(charges: list[list[str]], rows: list[tuple[str, int, str, int, int, bytes, int]]) -> None:
    """A request has at most one received reply, nothing is sent after it, and the provider charged it no more often
    than once for the reply and once for each attempt whose outcome is unknown."""
    billed = Counter(charge[5] for charge in charges)
    allowed: Counter[str] = Counter()
    received: Counter[str] = Counter()
    last: dict[str, tuple[int, str]] = {}
    for key, attempt, state, _, at_risk, request, _ in rows:
        name = hashlib.sha256(bytes(request)).hexdigest()[:24]
        allowed[name] += state == "received" or at_risk > 0
        received[key] += state == "received"
        last[key] = max(last.get(key, (0, "")), (attempt, state))
    assert max(received.values(), default=0) <= 1, "a reply was bought twice"
    sent_after = [key for key in received if received[key] and last[key][1] != "received"]
    assert not sent_after, "a request was sent again after its reply was received"
    unexplained = {name: count for name, count in billed.items() if count > allowed[name]}
    assert not unexplained, f"charges the ledger knows nothing of: {unexplained}"


def check_published(folder: Path, cells: dict[str, int]) -> None:
    """Assert that the published dataset is whole: every file as its receipt says, every cell exactly as asked."""
    dataset = folder / "dataset"
    receipt = json.loads((dataset / "receipt.json").read_text())
    found = {str(path.relative_to(dataset)) for path in dataset.rglob("*") if path.is_file()}
    assert found == {*receipt["files"], "receipt.json"}
    for name, entry in receipt["files"].items():
        assert hashlib.sha256((dataset / name).read_bytes()).hexdigest() == entry["sha256"], name
    (complete,) = dataset.glob("training_*_complete.jsonl")
    rows = [json.loads(line) for line in complete.read_text().splitlines()]
    assert Counter(f"{row['domain']}/{row['difficulty']}" for row in rows) == Counter(cells)
    assert len({row["question_id"] for row in rows}) == len({row["question"] for row in rows}) == len(rows)


def check_nothing_torn(folder: Path) -> None:
    """Assert that a published dataset, if there is one, is whole, and that no JSON file of the run is torn."""
    if (folder / "dataset").exists():
        receipt = json.loads((folder / "dataset" / "receipt.json").read_text())
        for name, entry in receipt["files"].items():
            assert hashlib.sha256((folder / "dataset" / name).read_bytes()).hexdigest() == entry["sha256"], name
    for path in [*folder.glob("*.json"), *(folder / "shards").glob("*.json")]:
        json.loads(path.read_text())
