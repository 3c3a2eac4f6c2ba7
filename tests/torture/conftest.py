"""A site at work, with a listener for its notifications, for the tests that hurt it."""

from __future__ import annotations

import json
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
from xdist.scheduler import LoadFileScheduling

from deployments.local_server import free_port

HANG_S = 600


class BySite(LoadFileScheduling):
    """A file goes to one worker; the two that hurt a site without pipelines share one, and so one site."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "site" if Path(file).stem in ("test_site_at_work", "test_site_hurt") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySite:
    return BySite(config, log)


class Site:
    """A site in a folder of its own, and a listener for its notifications."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: list[str] = []
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"

    def cogumi(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "cogumi.cli.main", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=HANG_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, body: dict[str, Any]) -> Any:
        reply = httpx.post(f"{self.api}{path}", json=body, timeout=120)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.api}{path}", timeout=120).raise_for_status().json()

    def start(self, deployment: str, request: dict[str, Any]) -> str:
        found = self.get(f"/deployments/name/{deployment}")
        return str(self.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": {"request": request}})["id"])

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Flow runs of this name, oldest first."""
        found = [run for run in self.post("/flow_runs/filter", {}) if run["name"] == name]
        return sorted(found, key=lambda run: str(run["created"]))

    def process(self, name: str) -> int:
        """The pid of one of the site's processes."""
        processes = json.loads((self.folder / ".cogumi" / "processes.json").read_text())
        (pid,) = [process["pid"] for process in processes if process["name"] == name]
        return int(pid)

    def ended(self, run: str) -> dict[str, Any]:
        def over() -> bool:
            return bool(self.get(f"/flow_runs/{run}")["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"))

        until(over)
        return dict(self.get(f"/flow_runs/{run}"))


def until(what: Callable[[], Any]) -> None:
    """Waits for what must come. How long processes take is the machine's: the bound is for a hang."""
    end = time.monotonic() + HANG_S
    while not what():
        assert time.monotonic() < end, "never came"
        time.sleep(0.3)


@pytest.fixture(scope="session")
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
    made.cogumi("up", "--port", str(made.port), "--database-url", database_url, "--simulate")
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
