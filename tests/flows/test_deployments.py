"""The deployments of prefect.yaml on a real server, run by a real process worker; a scheduled run is named by its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cogumi.cli.stack import trigger
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import InputError, StorageError
from cogumi.store.versions import Versions
from deployments.local_server import local_server
from deployments.processes import Processes

pytestmark = pytest.mark.flows
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server with the deployments on it, and a worker on the pool."""
    home = tmp_path_factory.mktemp("deployed")
    with local_server(home) as server:
        environment = {**os.environ, **server, "COGUMI_HOME": str(ROOT)}
        prefect = str(Path(sys.executable).parent / "prefect")

        def call(*arguments: str) -> None:
            done = subprocess.run(
                [prefect, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180
            )
            assert done.returncode == 0, done.stdout + done.stderr

        for pool in ("cpu", "gpu-h100", "gpu-a100"):
            call("work-pool", "create", pool, "--type", "process")
        call("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
        processes = Processes(home)
        processes.start("worker", [sys.executable, "-m", "deployments.worker", "--pool", "cpu"], environment, home)
        try:
            yield {**environment, "home": str(home)}
        finally:
            processes.stop(["worker"], 40)


def post(environment: dict[str, str], path: str, body: dict[str, Any]) -> Any:
    for _ in range(5):
        reply = httpx.post(f"{environment['PREFECT_API_URL']}{path}", json=body, timeout=20)
        if reply.status_code != 503:  # SQLite was busy; Prefect's own client tries again too
            break
        time.sleep(1)
    assert reply.status_code < 300, reply.text
    return reply.json()


def deployment(environment: dict[str, str], name: str) -> dict[str, Any]:
    url = f"{environment['PREFECT_API_URL']}/deployments/name/generate-dataset/{name}"
    return dict(httpx.get(url, timeout=20).raise_for_status().json())


def finished(environment: dict[str, str], run_id: str) -> dict[str, Any]:
    for _ in range(360):
        run = httpx.get(f"{environment['PREFECT_API_URL']}/flow_runs/{run_id}", timeout=20).json()
        if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return dict(run)
        time.sleep(0.5)
    raise AssertionError(run)


def test_a_scheduled_run_makes_the_next_version_and_its_name_is_its_time(deployed: dict[str, str]) -> None:
    weekly = deployment(deployed, "weekly")
    assert weekly["schedules"][0]["active"] is False
    home = Path(deployed["home"])
    request = {
        "recipe": "tiny", "dataset": "weekly", "root": str(home / "runs"), "versions": str(home / "versions"),
        "overrides": ["dataset.cells={math: {easy: 4}}"],
    }  # fmt: skip
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2026-11-23T02:00:00Z"}}
    run = post(
        deployed, f"/deployments/{weekly['id']}/create_flow_run", {"parameters": {"request": request}, "state": state}
    )
    done = finished(deployed, run["id"])
    assert done["state_type"] == "COMPLETED", done["state"]["message"]
    assert done["name"] == "dataset-weekly-2026-11-23T0200"
    report = json.loads((home / "runs" / "weekly-2026-11-23T0200" / "report.json").read_text())
    assert report["stages"]["generate_dataset"]["version"] == 1
    assert Versions(str(home / "versions"), "weekly").get().run == "weekly-2026-11-23T0200"


def test_the_form_checks_what_is_typed_before_a_worker_starts(deployed: dict[str, str]) -> None:
    on_demand = deployment(deployed, "on-demand")
    schema = json.dumps(on_demand["parameter_openapi_schema"])
    assert "publish the result as the next version" in schema and "pause for an approval" in schema
    url = f"{deployed['PREFECT_API_URL']}/deployments/{on_demand['id']}/create_flow_run"
    bad = httpx.post(url, json={"parameters": {"request": {"recipe": "tiny", "run": "../up"}}}, timeout=20)
    assert bad.status_code >= 400


def test_what_the_form_refuses_is_said_with_a_way_on(deployed: dict[str, str]) -> None:
    """A run whose recipe is a file cannot be resumed by the form, which offers presets."""
    request = DatasetRequest(recipe="tiny", run="by-file").model_copy(update={"recipe": "mine.yaml"})
    with pytest.raises(InputError, match=r"form-refused[\s\S]*--here"):
        trigger(deployed["PREFECT_API_URL"], "generate-dataset/on-demand", request)
    with pytest.raises(StorageError, match="server-unreachable"):
        trigger("http://127.0.0.1:9/api", "generate-dataset/on-demand", request)


@pytest.mark.parametrize("name", ["generate-dataset/on-demand", "pretrain-base/h100"])
def test_an_override_that_is_none_is_refused_by_the_form(deployed: dict[str, str], name: str) -> None:
    api = deployed["PREFECT_API_URL"]
    found = httpx.get(f"{api}/deployments/name/{name}", timeout=20).json()["id"]
    for bad in ("seed", "=3", "sk key=3"):
        asked = {"parameters": {"request": {"overrides": [bad]}}}
        assert httpx.post(f"{api}/deployments/{found}/create_flow_run", json=asked, timeout=20).status_code >= 400, bad
