"""What a site's runs take that is done to them: the server goes away, a run is cancelled or loses its worker, and all of
it is taken down.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time

import pytest

from tests.torture.conftest import Site, until
from tests.torture.oracle import check_money

pytestmark = pytest.mark.torture
SMALL = "dataset.cells={math: {easy: 4}}"


def test_a_server_that_is_killed_in_the_middle_is_survived(site: Site) -> None:
    """The run goes on while nobody listens; `cogumi up` brings the server back with all it knew."""
    request = {"recipe": "tiny", "run": "deserted", "overrides": ["loopback.latency_s=2"]}
    run = site.start("generate-dataset/on-demand", request)
    until(lambda: (site.folder / "runs" / "deserted" / "provider_bill.tsv").exists())
    os.kill(site.process("server"), signal.SIGKILL)
    time.sleep(2)
    site.cogumi("up")
    until(lambda: (site.folder / "runs" / "deserted" / "dataset" / "receipt.json").exists())
    assert site.ended(run)["state_type"] == "COMPLETED"
    check_money(site.folder / "runs" / "deserted")


@pytest.mark.parametrize(("how", "state"), [("ended-by-cancel", "CANCELLED"), ("ended-by-its-worker", "CRASHED")])
def test_a_run_that_is_ended_takes_the_replies_that_are_paid_for(site: Site, how: str, state: str) -> None:
    """In the dashboard, or by SIGTERM to its worker: nothing that was sent is left without its reply, and what is
    resumed goes on from it.
    """
    request = {"recipe": "tiny", "run": how, "overrides": ["loopback.latency_s=3", "loopback.fault_share=0"]}
    run = site.start("generate-dataset/on-demand", request)
    bill = site.folder / "runs" / how / "provider_bill.tsv"
    until(lambda: bill.exists() and bill.read_text())
    if how == "ended-by-cancel":
        site.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    else:
        os.kill(site.process("worker-cpu"), signal.SIGTERM)
    assert site.ended(run)["state_type"] == state
    with sqlite3.connect(site.folder / "runs" / how / "ledger.db") as ledger:
        states = dict(ledger.execute("select state, count(*) from attempts group by state"))
    assert set(states) == {"received"} and check_money(site.folder / "runs" / how).received == states["received"]
    site.cogumi("up")
    goes_on = json.loads(site.cogumi("resume", how, "--json"))
    assert site.ended(goes_on["flow_run"])["state_type"] == "COMPLETED"


def test_down_lets_a_running_flow_finish_within_its_grace(site: Site) -> None:
    request = {"recipe": "tiny", "run": "finishing", "overrides": ["loopback.latency_s=2", "loopback.fault_share=0"]}
    run = site.start("generate-dataset/on-demand", request)
    until(lambda: (site.folder / "runs" / "finishing" / "provider_bill.tsv").exists())
    site.cogumi("down", "--grace", "300")
    assert (site.folder / "runs" / "finishing" / "dataset" / "receipt.json").exists()
    money = check_money(site.folder / "runs" / "finishing")
    assert money.unknown == 0
    site.cogumi("up")
    assert site.get(f"/flow_runs/{run}")["state_type"] == "COMPLETED"
    again = site.start("generate-dataset/on-demand", {"recipe": "tiny", "run": "afterwards", "overrides": [SMALL]})
    assert site.ended(again)["state_type"] == "COMPLETED", "its pools are taken up again"
