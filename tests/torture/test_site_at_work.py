"""A site at work: schedules fire and make the next version, failures and budgets are told, a retry in the dashboard
goes on and buys nothing again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from cogumi.store.versions import Versions
from tests.torture.conftest import HANG_S, Site, until
from tests.torture.oracle import check_money

pytestmark = pytest.mark.torture
SMALL = "dataset.cells={math: {easy: 4}}"


@pytest.fixture(scope="module", autouse=True)
def often(site: Site) -> Iterator[Versions]:
    """The weekly deployment, put on a short interval while the tests of this file run; the versions that it makes."""
    weekly = site.get("/deployments/name/generate-dataset/weekly")
    assert [schedule["active"] for schedule in weekly["schedules"]] == [False]
    request = {"recipe": "tiny", "dataset": "weekly", "overrides": [SMALL]}
    body = [{"schedule": {"interval": 60}, "active": True, "parameters": {"request": request}, "slug": "often"}]
    reply = httpx.post(f"{site.api}/deployments/{weekly['id']}/schedules", json=body, timeout=120)
    assert reply.status_code < 300, reply.text
    yield Versions(str(site.folder / "datasets"), "weekly")
    for schedule in reply.json():
        httpx.delete(f"{site.api}/deployments/{weekly['id']}/schedules/{schedule['id']}", timeout=120)


def test_budgets_and_failures_are_told_and_a_retry_in_the_dashboard_goes_on(site: Site) -> None:
    run = site.start(
        "generate-dataset/on-demand", {"recipe": "tiny", "run": "poor", "overrides": ["budget.max_usd=0.02"]}
    )
    failed = site.ended(run)
    assert failed["state_type"] == "FAILED" and "budget-reached" in failed["state"]["message"]
    until(lambda: sum("dataset-poor" in words for words in site.heard) >= 2)  # failed, and budget reached
    before = check_money(site.folder / "runs" / "poor")
    # What the dashboard's Retry button does, once somebody has raised the budget.
    rich = {"request": {"recipe": "tiny", "run": "poor", "overrides": ["budget.max_usd=5"]}}
    httpx.patch(f"{site.api}/flow_runs/{run}", json={"parameters": rich}, timeout=120).raise_for_status()
    site.post(f"/flow_runs/{run}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True})
    until(lambda: site.get(f"/flow_runs/{run}")["state_type"] == "COMPLETED")
    after = check_money(site.folder / "runs" / "poor")
    assert after.received > before.received > 0
    until(lambda: any("Completed" in words for words in site.heard))


def test_a_notification_block_that_is_not_there_is_told_by_name(site: Site) -> None:
    command = [sys.executable, "-m", "cogumi.cli.main", "up", "--notify", "slack-webhook/none"]
    done = subprocess.run(command, cwd=site.folder, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 2 and "block-unknown slack-webhook/none" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_doubled_run_ends_without_touching_the_first(site: Site) -> None:
    request = {"recipe": "tiny", "run": "doubled", "overrides": ["loopback.latency_s=5", "loopback.fault_share=0"]}
    both = [site.start("generate-dataset/on-demand", request) for _ in range(2)]
    ended = {run["state_type"]: run["state"]["message"] for run in map(site.ended, both)}
    assert set(ended) == {"COMPLETED", "FAILED"} and "run-locked" in ended["FAILED"]
    check_money(site.folder / "runs" / "doubled")


def test_a_schedule_fires_and_the_next_version_appears(often: Versions) -> None:
    """Two periods make two versions that share no question."""
    until(lambda: len(often.all()) >= 2)
    one, two = often.all()[:2]
    assert one.run != two.run and one.run.startswith("weekly-20")
    rows = [
        {json.loads(line)["question"] for line in often.read(version, "training_4_complete.jsonl").splitlines()}
        for version in (one, two)
    ]
    assert all(len(questions) == 4 for questions in rows) and not rows[0] & rows[1]
