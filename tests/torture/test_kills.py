"""SIGKILL at random times, through the plain path and through Prefect, until the run is done: nothing lost, nothing bought twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cogumi.recipe import load_recipe
from deployments.local_server import local_server
from tests.torture.driving import BY_BATCH, CELLS, LONG, command, finish, rounds
from tests.torture.oracle import check_money, check_nothing_torn, check_published

pytestmark = pytest.mark.torture
TINY = {f"{domain}/{d}": n for domain, counts in load_recipe("tiny").dataset.cells.items() for d, n in counts.items()}
SLOW = ["--set", "loopback.latency_s=0.15", "--set", "loopback.fault_share=0.1"]


def kill_after_first_bill(arguments: list[str], cwd: Path, bill: Path, wait_s: float, **environment: str) -> bool:
    """Start a run, kill its whole process `wait_s` after it bought something. False where it ended before."""
    before = bill.stat().st_size if bill.exists() else 0
    child = subprocess.Popen(
        arguments, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        while child.poll() is None and (not bill.exists() or bill.stat().st_size == before):
            time.sleep(0.01)
        time.sleep(wait_s)
        ended = child.poll() is not None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    return not ended


def hurt(
    tmp_path: Path, arguments: list[str], name: str, kills: int, seed: int, cells: dict[str, int], **environment: str
) -> int:
    """Kill a run up to `kills` times, checking the money after each, then let it finish. Returns the kills that hit."""
    folder = tmp_path / "runs" / name
    rng = Random(seed)
    hits = received = 0
    for _ in range(kills):
        hits += kill_after_first_bill(
            arguments, tmp_path, folder / "provider_bill.tsv", rng.uniform(0, 0.9), **environment
        )
        accounts = check_money(folder)
        assert accounts.received >= received, "a received reply was lost"
        received = accounts.received
        check_nothing_torn(folder)
    finish(arguments, tmp_path, **environment)
    check_published(folder, cells)
    accounts = check_money(folder)
    assert accounts.received >= received
    return hits


def test_random_kills_lose_and_rebuy_nothing(tmp_path: Path) -> None:
    hits = 0
    for number in rounds("plain-kills", 2, 2000):
        name = f"plain{number}"
        hits += hurt(tmp_path, command(name, *SLOW), name, 5, number, TINY)
    assert LONG or hits >= 2  # the long form may have nothing left to do; the short one must hit each round once


def test_kills_with_batches_open_lose_and_rebuy_nothing(tmp_path: Path) -> None:
    """The provider dies with the run and works on with what it has on disk; open batches are followed by the next run."""
    hits = 0
    for number in rounds("batch-kills", 2, 500):
        name = f"batch{number}"
        hits += hurt(tmp_path, command(name, *BY_BATCH, recipe="small"), name, 5, 500 + number, CELLS)
    assert LONG or hits >= 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server in a process of its own, so that killed flow runs leave it standing."""
    with local_server(tmp_path_factory.mktemp("prefect-home")) as environment:
        yield environment


def test_kills_through_prefect_lose_and_rebuy_nothing(tmp_path: Path, server: dict[str, str]) -> None:
    numbers = rounds("prefect-kills", 1, 50)
    hits = 0
    for number in numbers:
        name = f"flow{number}"
        hits += hurt(tmp_path, command(name, *SLOW, prefect=True), name, 3, 1000 + number, TINY, **server)
    assert LONG or hits >= 1
