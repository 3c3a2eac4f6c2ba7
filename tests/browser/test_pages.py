"""What a person sees: the report and Prefect's dashboard in headless Chromium."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.recipe import load_recipe
from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder
from tests.browser.driving import FLAGS
from tests.skipped import miss

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
