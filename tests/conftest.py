"""Fixtures for all tests: a loopback provider over real HTTP, ledgers on SQLite and PostgreSQL, real data."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from cogumi.store.ledger import Ledger
from cogumi.teachers.anthropic_messages import AnthropicWire
from cogumi.teachers.budget import Budget
from cogumi.teachers.limiter import Limiter
from cogumi.teachers.openai_compatible import OpenAIWire
from cogumi.teachers.pricing import Price
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.teachers.teacher import LedgeredTeacher
from cogumi.teachers.transport import HttpTransport
from tests.skipped import miss, pytest_addoption, pytest_terminal_summary

__all__ = ["pytest_addoption", "pytest_terminal_summary"]  # hooks
POSTGRES = os.environ.get("COGUMI_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/test")
MODEL = "loopback/answerer"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data."""
    folder = Path(os.environ.get("COGUMI_DATA", ""))
    if not os.environ.get("COGUMI_DATA") or not folder.is_dir():
        miss("COGUMI_DATA")
    return folder


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """A PostgreSQL database of the tests' own, gone after them."""
    admin = create_engine(make_url(POSTGRES).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    name = f"cogumi_{uuid.uuid4().hex[:12]}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"create database {name}"))
    except DBAPIError:
        miss("PostgreSQL")
    yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of the tests' own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    try:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        miss("redis-server")
    yield f"redis://127.0.0.1:{port}/0"
    child.terminate()
    child.wait(10)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server (moto) in this process with the bucket cogumi-test; it checks no key."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    httpx.put(f"http://{host}:{port}/cogumi-test", timeout=20).raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        miss("strace")
    return found


@pytest.fixture(scope="session")
def postgres() -> str:
    """A PostgreSQL URL that works."""
    engine = create_engine(POSTGRES.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            connection.execute(text("select 1"))
    except DBAPIError:
        miss("PostgreSQL")
    finally:
        engine.dispose()
    return POSTGRES


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh ledger's URL, on each database in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    base = request.getfixturevalue("postgres")
    schema = f"cogumi_{uuid.uuid4().hex[:12]}"
    engine = create_engine(base.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(f"create schema {schema}"))
    yield f"{base}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(text(f"drop schema {schema} cascade"))
    engine.dispose()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", "test")
    yield opened
    opened.close()


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Callable[..., LoopbackProcess]]:
    """Starts loopback providers; all end with the test."""
    started: list[LoopbackProcess] = []

    def start(**behaviour: Any) -> LoopbackProcess:
        behaviour.setdefault("bill", tmp_path / f"bill-{len(started)}.tsv")
        started.append(LoopbackProcess(Behaviour(**behaviour)).start())
        return started[-1]

    yield start
    for provider in started:
        provider.stop()


@pytest.fixture
async def hire(ledger: Ledger) -> AsyncIterator[Callable[..., LedgeredTeacher]]:
    """Makes teachers on the test's ledger, closed at its end."""
    hired: list[LedgeredTeacher] = []

    def make(url: str, **changes: Any) -> LedgeredTeacher:
        anthropic = changes.pop("anthropic", False)
        wire = AnthropicWire() if anthropic else OpenAIWire()
        root = url if anthropic else f"{url}/v1"
        key = changes.pop("key", "")
        timeout_s = changes.pop("timeout_s", 10.0)
        settings: dict[str, Any] = {
            "provider": "loopback",
            "model": MODEL,
            "wire": wire,
            "transport": HttpTransport(root, wire.headers(key), timeout_s, allow_loopback_http=True),
            "ledger": ledger,
            "budget": Budget(None),
            "limiter": Limiter(None, None),
            "retry": RetryPolicy(1, (0.01,)),
            "price": Price(150, 600, 75, 150, 150),
            "in_flight": 50,
        }
        hired.append(LedgeredTeacher(**{**settings, **changes}))
        return hired[-1]

    yield make
    for teacher in hired:
        await teacher.aclose()


def bill_of(path: Path) -> tuple[int, int]:
    """(charges, nano-dollars) of a provider's bill file, read without any of our code."""
    lines = path.read_text().splitlines() if path.exists() else []
    return len(lines), sum(int(line.split("\t")[4]) for line in lines)
