"""The ledger: durable, resumable, exact about money, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from cogumi.errors import InputError, RunError, StorageError
from cogumi.store.backup import backup, restore, runs_in
from cogumi.store.ledger import Attempt, Ledger, Outcome
from cogumi.store.ledger_file import ledger_file
from cogumi.store.schema import SCHEMA_VERSION, open_engine, prepare


def attempt(key: str, number: int = 1, at_risk: int = 100) -> Attempt:
    return Attempt(key, number, "questions", "loopback", "m", b"{}", at_risk, time.time())


def received(key: str, number: int = 1, cost: int = 40, reply: bytes = b"reply") -> Outcome:
    return Outcome(key, number, "received", reply=reply, cost_nanousd=cost, finished_at=12.5)


async def test_a_settled_reply_is_there_after_reopening(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url, "r")
    await ledger.intend(attempt("a"))
    await ledger.settle(received("a", reply=b"\x00\xffraw"))
    ledger.close()
    again = Ledger.open(ledger_url, "r")
    assert again.reply("a") == (b"\x00\xffraw", 12.5)
    assert again.totals().cost_nanousd == 40
    assert again.totals().at_risk_nanousd == 0
    again.close()


async def test_what_was_in_flight_becomes_unknown_with_its_worst_case_at_risk(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url, "r")
    await ledger.intend(attempt("a", at_risk=700))
    ledger.close()
    again = Ledger.open(ledger_url, "r")
    totals = again.totals()
    assert (totals.unknown, totals.at_risk_nanousd, again.reply("a")) == (1, 700, None)
    assert again.attempts_made("a") == 1
    again.close()


async def test_looking_at_a_ledger_marks_nothing(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url, "r")
    await ledger.intend(attempt("a"))
    view = Ledger.view(ledger_url, "r")
    assert view.totals().unknown == 0
    view.close()
    ledger.close()


async def test_a_reply_is_looked_up_by_its_key(tmp_path: Path) -> None:
    """Not by the run's received rows: that made a cached re-run of 40,000 replies take ten minutes."""
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", "r")
    await ledger.intend(attempt("a"))
    await ledger.settle(received("a"))
    query = ledger.attempts_query("a").compile(ledger.engine, compile_kwargs={"literal_binds": True})
    with ledger.engine.connect() as connection:
        plan = " ".join(str(row) for row in connection.exec_driver_sql(f"explain query plan {query}"))
    ledger.close()
    assert "request_key=?" in plan and "attempts_by" not in plan


async def test_runs_in_one_database_do_not_see_each_other(ledger_url: str) -> None:
    one, two = Ledger.open(ledger_url, "one"), Ledger.open(ledger_url, "two")
    await one.intend(attempt("a"))
    await one.settle(received("a"))
    assert two.reply("a") is None and not two.has_reply("a")
    assert two.totals().received == 0
    one.close()
    two.close()


async def test_the_first_memo_under_a_name_stays(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url, "r")
    await ledger.remember("round/1", {"k": True})
    await ledger.remember("round/1", {"k": False})
    assert ledger.recall("round/1") == {"k": True}
    assert ledger.recall("round/2") is None
    ledger.close()


async def test_many_writers_share_commits(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url, "r")

    async def one(number: int) -> None:
        await ledger.intend(attempt(f"{number:03d}"))
        await ledger.settle(received(f"{number:03d}"))

    await asyncio.gather(*(one(number) for number in range(300)))
    assert ledger.totals().received == 300
    rows, commits = ledger.written
    assert rows == 600 and commits < 100
    ledger.close()


def test_what_only_reads_makes_no_ledger(tmp_path: Path) -> None:
    """Not in the thread that opened it either."""
    url = f"sqlite:///{tmp_path / 'none.db'}"
    view = Ledger.view(url, "r")
    with ThreadPoolExecutor() as threads:
        assert not threads.submit(lambda: view.has_attempts).result()
    assert view.replies == 0 and view.batches() == [] and view.recall("memo") is None and view.table("stage") == []
    view.close()
    with pytest.raises(RunError, match="ledger-missing"):
        backup(url, "r", tmp_path / "copy.db")
    with pytest.raises(InputError, match="backup-not-found"):
        runs_in(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "file"),
    [("sqlite:////a/b.db", Path("/a/b.db")), ("sqlite:///b.db", Path("b.db")), ("sqlite://", None),
     ("postgresql://host/name", None)],
)  # fmt: skip
def test_the_file_of_a_ledger_is_known_by_its_url(url: str, file: Path | None) -> None:
    assert ledger_file(url) == file


async def test_sums_by_group_are_exact(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url, "r")
    for number in range(5):
        await ledger.intend(attempt(str(number)))
        await ledger.settle(received(str(number), cost=10**12 + number))
    (row,) = ledger.table("stage", "state")
    assert (row["stage"], row["state"], row["attempts"], row["cost_nanousd"]) == (
        "questions",
        "received",
        5,
        5 * 10**12 + 10,
    )
    ledger.close()


async def test_backup_and_restore_give_back_everything(ledger_url: str, tmp_path: Path) -> None:
    ledger = Ledger.open(ledger_url, "r")
    await ledger.intend(attempt("a"))
    await ledger.settle(received("a"))
    await ledger.remember("memo", [1, 2])
    copy = tmp_path / "backup.db"
    assert backup(ledger_url, "r", copy) == 1
    ledger.close()
    assert runs_in(copy) == ["r"]
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert restore(copy, "r", other, "renamed") == 1
    restored = Ledger.open(other, "renamed")
    assert restored.reply("a") == (b"reply", 12.5)
    assert restored.recall("memo") == [1, 2]
    restored.close()
    with pytest.raises(StorageError, match="backup-exists"):
        restore(copy, "r", other, "renamed")
    with pytest.raises(StorageError, match="backup-exists"):
        backup(ledger_url, "r", copy)


def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(f"sqlite:///{path}", "r").close()
    with sqlite3.connect(path) as connection:
        connection.execute("update meta set value = ? where name = 'schema_version'", (str(SCHEMA_VERSION + 1),))
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="ledger-newer"):
        Ledger.open(f"sqlite:///{path}", "r")
    assert path.read_bytes() == before


def test_an_older_ledger_is_migrated_in_one_transaction(ledger_url: str) -> None:
    engine = open_engine(ledger_url)
    prepare(engine)

    def good(connection) -> None:  # type: ignore[no-untyped-def]
        connection.execute(text("alter table attempts add column note varchar(10)"))

    def bad(connection) -> None:  # type: ignore[no-untyped-def]
        raise RuntimeError("half way")

    steps = {SCHEMA_VERSION + 1: good, SCHEMA_VERSION + 2: bad}
    with pytest.raises(RuntimeError):
        prepare(engine, SCHEMA_VERSION + 2, steps)
    prepare(engine, SCHEMA_VERSION + 1, steps)  # the failed attempt left neither column nor version behind
    with engine.connect() as connection:
        assert connection.execute(text("select count(note) from attempts")).scalar() == 0
        assert connection.execute(text("select value from meta")).scalar() == str(SCHEMA_VERSION + 1)
    engine.dispose()


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 200)
    with pytest.raises(StorageError, match="database-damaged"):
        Ledger.open(f"sqlite:///{path}", "r")


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(StorageError) as caught:
        Ledger.open("postgresql://user:hunter2@127.0.0.1:1/none", "r")
    assert caught.value.code == "database-unreachable"
    assert "hunter2" not in str(caught.value)


def test_sigkill_loses_no_acknowledged_row(tmp_path: Path) -> None:
    """A process writes as fast as it can and prints what was acknowledged; it is killed; every printed row is there."""
    script = """
import asyncio, sys, time
from cogumi.store.ledger import Attempt, Ledger, Outcome
async def main():
    ledger = Ledger.open(sys.argv[1], "r")
    async def writer(w):
        n = 0
        while True:
            key = f"{w}-{ledger.attempts_made(f'{w}')}-{n}-{time.time_ns()}"[:32]
            await ledger.intend(Attempt(key, 1, "s", "p", "m", b"{}", 1, time.time()))
            await ledger.settle(Outcome(key, 1, "received", reply=key.encode(), cost_nanousd=1))
            print(key, flush=True)
            n += 1
    await asyncio.gather(*(writer(w) for w in range(20)))
asyncio.run(main())
"""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    acknowledged: list[str] = []
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(150):
            acknowledged.append(child.stdout.readline().strip())
        child.kill()
        acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
        child.wait()
        child.stdout.close()
    ledger = Ledger.open(url, "r")
    lost = [key for key in acknowledged if ledger.reply(key) is None or ledger.reply(key)[0] != key.encode()]  # type: ignore[index]
    totals = ledger.totals()
    ledger.close()
    assert len(acknowledged) >= 450 and lost == []
    assert totals.unknown <= 3 * 20
