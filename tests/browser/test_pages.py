"""What a person sees: the report and Prefect's dashboard in headless Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.recipe import load_recipe
from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder
from deployments.local_server import local_server
from tests.browser.driving import FLAGS
from tests.conftest import miss

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        miss("Chromium")
    return str(found)


def browse(chromium: str, url: str, folder: Path, *more: str, wait_ms: int = 2000) -> str:
    """The page's DOM after its scripts ran."""
    command = [
        chromium,
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        f"--virtual-time-budget={wait_ms}",
        *more,
        "--dump-dom",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


def shoot(chromium: str, url: str, folder: Path, name: str, size: str, wait_ms: int = 2000) -> bytes:
    """A screenshot as PNG bytes."""
    path = folder / name
    command = [
        chromium,
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={size}",
        f"--virtual-time-budget={wait_ms}",
        f"--screenshot={path}",
        url,
    ]
    subprocess.run(command, capture_output=True, timeout=120)
    return path.read_bytes()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    recipe = load_recipe("tiny")

    async def make() -> None:
        with RunFolder.open(root, "r", recipe) as folder:
            async with open_dataset_run(recipe, folder) as run:
                await generate(run, Plan.for_recipe(recipe))

    asyncio.run(make())
    write_report(root / "r")
    return root / "r" / "report.html"


@pytest.mark.parametrize("size", ["1200,2400", "390,3000"], ids=["desk", "phone"])
def test_the_report_opens_and_fits(chromium: str, report: Path, tmp_path: Path, size: str) -> None:
    picture = shoot(chromium, report.as_uri(), tmp_path, "report.png", size)
    assert picture[:4] == b"\x89PNG" and len(picture) > 30_000
    probe = report.with_name(f"probe-{size.split(',')[0]}.html")
    page = report.read_text().replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    script = "<script>document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth, document.querySelectorAll('details').length])</script>"
    probe.write_text(page.replace("</body>", script + "</body>"))
    dom = browse(chromium, probe.as_uri(), tmp_path, f"--window-size={size}")
    wide, window, details = json.loads(dom.split("<title>")[1].split("</title>")[0])
    assert details == 40
    assert wide <= max(window, 500)  # headless Chromium does not go below 500 pixels


def test_the_report_asks_the_network_for_nothing(chromium: str, report: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    browse(chromium, report.as_uri(), tmp_path, f"--log-net-log={log}")
    asked = [line for line in log.read_text().splitlines() if '"url":"http' in line and "127.0.0.1" not in line]
    own = [line for line in asked if "google" not in line and "gvt" not in line]  # the browser's own errands
    assert own == []


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server with one finished run of the flow."""
    home = tmp_path_factory.mktemp("prefect")
    command = [
        sys.executable,
        "-m",
        "cogumi.cli.main",
        "run",
        "dataset",
        "--recipe",
        "tiny",
        "--root",
        str(home / "runs"),
    ]
    with local_server(home) as environment:
        subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=300, capture_output=True)
        yield environment["PREFECT_UI_URL"]


def test_the_dashboard_shows_the_run_its_tasks_and_artifacts(chromium: str, dashboard: str, tmp_path: Path) -> None:
    runs = httpx.post(f"{dashboard}/api/flow_runs/filter", json={}, timeout=10).json()
    (run,) = [run for run in runs if run["name"] == "dataset-tiny"]
    page = f"{dashboard}/runs/flow-run/{run['id']}"
    dom = browse(chromium, page, tmp_path, "--window-size=1400,1200", wait_ms=15_000)
    assert "dataset-tiny" in dom and "Completed" in dom
    picture = shoot(chromium, page, tmp_path, "run.png", "1400,1200", wait_ms=15_000)
    assert len(picture) > 30_000
    artifacts = browse(chromium, f"{dashboard}/artifacts", tmp_path, "--window-size=1400,1200", wait_ms=15_000)
    assert "tiny-funnel" in artifacts and "tiny-retries" in artifacts and "tiny-cost" in artifacts
    keep = os.environ.get("COGUMI_KEEP_PICTURES")
    if keep:
        Path(keep, "dashboard.png").write_bytes(picture)
