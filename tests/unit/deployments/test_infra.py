"""What infra/ says agrees with what the code does: settings of the containers, commands, units."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cogumi.cli.main import Commands
from deployments.site import GRACE_S, POOLS, Site
from deployments.worker import arguments
from tests.skipped import miss

ROOT = Path(__file__).resolve().parents[3]
UNITS = ROOT / "infra" / "systemd"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())["services"])


def test_containers_get_the_settings_that_a_site_gives_its_processes(services: dict[str, Any]) -> None:
    site = Site("/opt/cogumi", "/var/lib/cogumi", "127.0.0.1", 4200, "postgresql://prefect:x@postgres/prefect",
                "redis://redis:6379/0")  # fmt: skip

    def told(environment: dict[str, str]) -> dict[str, str]:
        """Without what differs by nature: where Prefect keeps its profile, and how containers call each other."""
        kept = {name: value for name, value in environment.items() if name not in ("PREFECT_HOME", "PYTHONPATH")}
        return {name: value.replace("//server:", "//127.0.0.1:").replace("${POSTGRES_PASSWORD}", "x")
                for name, value in kept.items()}  # fmt: skip

    assert told(services["server"]["environment"]) == told(site.server_environment())
    for worker in ("setup", "worker-cpu"):
        assert told(services[worker]["environment"]) == told(site.client_environment())


def test_workers_serve_pools_that_exist_and_have_time_to_save(services: dict[str, Any]) -> None:
    command = services["worker-cpu"]["command"]
    assert command[:3] == ["python", "-m", "deployments.worker"]
    asked = arguments(command[3:])
    assert asked.pool in {pool.name for pool in POOLS}
    assert float(services["worker-cpu"]["stop_grace_period"].rstrip("s")) > asked.grace == GRACE_S
    unit = (UNITS / "cogumi-worker@.service").read_text()
    (started,) = re.findall(r"^ExecStart=\S+ -m deployments\.worker (.*)$", unit, re.MULTILINE)
    asked = arguments(started.replace("${POOL}", "gpu-h100").split())
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert asked.limit == 1 and float(stop_s) > asked.grace > 0


def test_a_site_unit_calls_commands_that_exist() -> None:
    unit = (UNITS / "cogumi-site.service").read_text()
    commands = re.findall(r"^Exec\w+=\S+/cogumi (\w+)", unit, re.MULTILINE)
    assert commands == ["up", "up", "down"] and set(commands) <= Commands.SOURCES.keys()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    command = shutil.which("systemd-analyze")
    if command is None:
        miss("systemd-analyze")
    here = Path(sys.executable).parent
    for unit in UNITS.glob("*.service"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/cogumi/.venv/bin", str(here)))
    done = subprocess.run(
        [str(command), "verify", *map(str, tmp_path.glob("*.service"))], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
