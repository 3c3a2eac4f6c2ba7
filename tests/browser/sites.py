"""What issue-makers call done: one command up, a run started in the browser, its worker killed, seen Crashed, resumed,
completed with nothing bought twice.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from deployments.local_server import free_port
from deployments.processes import family_of
from tests.browser.driving import HANG_S, Person, person
from tests.torture.oracle import check_money

_LOG = logging.getLogger(__name__)


def cogumi(folder: Path, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "cogumi.cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def brought_up(folder: Path, *options: str) -> str:
    """Bring a site up; returns its address. How soon: tests/unit/deployments/test_site.py, where nothing runs beside it."""
    told = json.loads(cogumi(folder, "up", "--port", str(free_port()), "--json", *options))
    assert told["answers"] and all(told["processes"].values())
    return str(told["dashboard"])


def flow_run(root: str, name: str) -> dict[str, Any]:
    found = httpx.post(f"{root}/api/flow_runs/filter", json={}, timeout=120).json()
    runs = [run for run in found if run["name"] == name]
    return dict(max(runs, key=lambda run: str(run["created"]))) if runs else {}


def start_in_browser(user: Person, root: str, run: str) -> None:
    """Fill the form of generate-dataset/demo and press Submit."""
    deployment = httpx.get(f"{root}/api/deployments/name/generate-dataset/demo", timeout=120).json()["id"]
    user.opens(f"{root}/deployments/deployment/{deployment}/run")
    form = user.sees("Submit", "name of the run, whose folder lies under root", "Overrides")
    assert "Work Queue\nurgent" in form
    assert user.choices("Recipe") == ["demo", "small", "spec-54k", "spec-60k", "tiny"]
    user.types("Run", "../elsewhere")
    user.clicks("Submit")
    user.sees("does not match")
    user.types("Run", run)
    user.clicks("Submit")
    user.leaves("/run")


def seen_so_far(folder: Path, root: str) -> str:
    """What tells why a run does not start: all flow runs with their states, and the end of the worker's log."""
    found = httpx.post(f"{root}/api/flow_runs/filter", json={}, timeout=120).json()
    states = [f"{run['name']}: {run['state_name']}, {run['parameters']}" for run in found]
    log = (folder / ".cogumi" / "logs" / "worker-cpu.log").read_text()
    return "\n".join(["the run did not start", *states, log[-4000:]])


def kill_in_the_middle(folder: Path, root: str, run: str, *, whole_family: bool) -> None:
    """SIGKILL the worker, with its flow run where asked, once some replies have been paid."""
    bill = folder / "runs" / run / "provider_bill.tsv"
    until = time.monotonic() + 2 * HANG_S
    while not bill.exists() or len(bill.read_text().splitlines()) < 150:
        assert time.monotonic() < until, seen_so_far(folder, root)
        time.sleep(0.05)
    processes = json.loads((folder / ".cogumi" / "processes.json").read_text())
    (worker,) = [process["pid"] for process in processes if process["name"] == "worker-cpu"]
    doomed = family_of(worker) if whole_family else [worker]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in doomed:
            os.kill(pid, number)


def crash_and_resume(folder: Path, root: str, tmp_path: Path, run: str, *, whole_family: bool) -> None:
    with person(tmp_path / "browser") as user:
        start_in_browser(user, root, run)
        kill_in_the_middle(folder, root, run, whole_family=whole_family)
        killed = datetime.now(UTC)
        assert '"worker-cpu": false' in cogumi(folder, "status", "--json").replace("  ", "")
        first = flow_run(root, f"dataset-{run}")
        user.opens(f"{root}/runs/flow-run/{first['id']}")
        user.sees(f"dataset-{run}", "Crashed")
        crashed = datetime.fromisoformat(flow_run(root, f"dataset-{run}")["state"]["timestamp"])
        _LOG.info("Crashed %.0f s after it was killed", (crashed - killed).total_seconds())
        before = check_money(folder / "runs" / run)
        cogumi(folder, "up")
        goes_on = json.loads(cogumi(folder, "resume", run, "--json"))
        user.opens(goes_on["url"])
        until = time.monotonic() + 2 * HANG_S  # a task's "Completed" on the page is not yet the run's
        while httpx.get(f"{root}/api/flow_runs/{goes_on['flow_run']}", timeout=120).json()["state_type"] != "COMPLETED":
            assert time.monotonic() < until, "the resumed run did not complete"
            time.sleep(0.3)
        user.sees("Completed")
        assert goes_on["flow_run"] != first["id"]
        after = check_money(folder / "runs" / run)
        assert after.received > before.received > 100
        user.opens(f"{root}/artifacts")
        user.sees(f"{run}-funnel", f"{run}-retries", f"{run}-cost", f"{run}-report")
        user.opens(f"{root}/blocks/catalog")
        user.sees("cogumi provider credentials", "cogumi artifact store", "cogumi recipe")
        user.opens(f"{root}/work-pools")
        user.sees("cpu", "gpu-h100", "gpu-a100")
    report = json.loads((folder / "runs" / run / "report.json").read_text())["stages"]["generate_dataset"]
    assert report["rows"] == 800
    cogumi(folder, "down", "--grace", "5")
    assert '"answers": false' in cogumi(folder, "status", "--json")
