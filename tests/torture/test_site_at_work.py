"""A site at work: schedules fire and make the next version, failures and budgets are told, a retry in the dashboard
goes on and buys nothing again.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from cogumi.store.versions import Versions
from tests.torture.oracle import check_money

pytestmark = pytest.mark.torture
SMALL = "dataset.cells={math: {easy: 4}}"


class Site:
    """A site in a folder of its own, and a listener for its notifications."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: list[str] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api"

    def cogumi(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "cogumi.cli.main", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, body: dict[str, Any]) -> Any:
        reply = httpx.post(f"{self.api}{path}", json=body, timeout=20)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.api}{path}", timeout=20).raise_for_status().json()

    def start(self, deployment: str, request: dict[str, Any]) -> str:
        found = self.get(f"/deployments/name/generate-dataset/{deployment}")
        return str(self.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": {"request": request}})["id"])

    def ended(self, run: str) -> dict[str, Any]:
        def over() -> bool:
            return bool(self.get(f"/flow_runs/{run}")["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"))

        until(over, 120)
        return dict(self.get(f"/flow_runs/{run}"))


def until(what: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "never came"
        time.sleep(0.3)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Site]:
    """On PostgreSQL: on SQLite the server's automations lock each other out now and then, and lose an event."""
    made = Site(tmp_path_factory.mktemp("site"))

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.heard.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return None

    listener = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    made.cogumi("up", "--port", str(made.port), "--database-url", database_url)
    kind = made.get("/block_types/slug/custom-webhook")
    schema = made.post("/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}})[0]
    hook = {"name": "tests", "url": f"http://127.0.0.1:{listener.server_address[1]}/", "method": "POST",
            "json_data": {"subject": "{{subject}}", "body": "{{body}}"}, "allow_private_urls": True}  # fmt: skip
    body = {"name": "tests", "data": hook, "block_schema_id": schema["id"], "block_type_id": kind["id"]}
    made.post("/block_documents/", body)
    made.cogumi("up", "--notify", "custom-webhook/tests")
    yield made
    made.cogumi("down", "--grace", "5")
    listener.shutdown()


def test_a_schedule_fires_and_the_next_version_appears(site: Site) -> None:
    """The weekly deployment, put on a short interval: two periods make two versions that share no question."""
    weekly = site.get("/deployments/name/generate-dataset/weekly")
    assert [schedule["active"] for schedule in weekly["schedules"]] == [False]
    request = {"recipe": "tiny", "dataset": "weekly", "overrides": [SMALL]}
    body = [{"schedule": {"interval": 60}, "active": True, "parameters": {"request": request}, "slug": "often"}]
    reply = httpx.post(f"{site.api}/deployments/{weekly['id']}/schedules", json=body, timeout=20)
    assert reply.status_code < 300, reply.text
    try:
        versions = Versions(str(site.folder / "datasets"), "weekly")
        until(lambda: len(versions.all()) >= 2, 240)
    finally:
        for schedule in reply.json():
            httpx.delete(f"{site.api}/deployments/{weekly['id']}/schedules/{schedule['id']}", timeout=20)
    one, two = versions.all()[:2]
    assert one.run != two.run and one.run.startswith("weekly-20")
    rows = [
        {json.loads(line)["question"] for line in versions.read(version, "training_4_complete.jsonl").splitlines()}
        for version in (one, two)
    ]
    assert all(len(questions) == 4 for questions in rows) and not rows[0] & rows[1]


def test_budgets_and_failures_are_told_and_a_retry_in_the_dashboard_goes_on(site: Site) -> None:
    run = site.start("on-demand", {"recipe": "tiny", "run": "poor", "overrides": ["budget.max_usd=0.02"]})
    failed = site.ended(run)
    assert failed["state_type"] == "FAILED" and "budget-reached" in failed["state"]["message"]
    until(lambda: sum("dataset-poor" in words for words in site.heard) >= 2, 60)  # failed, and budget reached
    before = check_money(site.folder / "runs" / "poor")
    # What the dashboard's Retry button does, once somebody has raised the budget.
    rich = {"request": {"recipe": "tiny", "run": "poor", "overrides": ["budget.max_usd=5"]}}
    httpx.patch(f"{site.api}/flow_runs/{run}", json={"parameters": rich}, timeout=20).raise_for_status()
    site.post(f"/flow_runs/{run}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True})
    until(lambda: site.get(f"/flow_runs/{run}")["state_type"] == "COMPLETED", 120)
    after = check_money(site.folder / "runs" / "poor")
    assert after.received > before.received > 0
    until(lambda: any("Completed" in words for words in site.heard), 60)


def test_a_doubled_run_ends_without_touching_the_first(site: Site) -> None:
    request = {"recipe": "tiny", "run": "doubled", "overrides": ["loopback.latency_s=5", "loopback.fault_share=0"]}
    first = site.start("on-demand", request)
    until(lambda: (site.folder / "runs" / "doubled" / "provider_bill.tsv").exists(), 60)
    second = site.ended(site.start("on-demand", request))
    assert second["state_type"] == "FAILED" and "run-locked" in second["state"]["message"]
    assert site.ended(first)["state_type"] == "COMPLETED"
    check_money(site.folder / "runs" / "doubled")


def test_a_server_that_is_killed_in_the_middle_is_survived(site: Site) -> None:
    """The run goes on while nobody listens; `cogumi up` brings the server back with all it knew."""
    request = {"recipe": "tiny", "run": "deserted", "overrides": ["loopback.latency_s=2"]}
    run = site.start("on-demand", request)
    until(lambda: (site.folder / "runs" / "deserted" / "provider_bill.tsv").exists(), 60)
    processes = json.loads((site.folder / ".cogumi" / "processes.json").read_text())
    (server,) = [process["pid"] for process in processes if process["name"] == "server"]
    subprocess.run(["kill", "-9", str(server)], check=True)
    time.sleep(2)
    site.cogumi("up")
    until(lambda: (site.folder / "runs" / "deserted" / "dataset" / "receipt.json").exists(), 120)
    assert site.ended(run)["state_type"] == "COMPLETED"
    check_money(site.folder / "runs" / "deserted")
