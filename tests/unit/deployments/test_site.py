"""The settings of a site: what every process is told, which URLs are refused, and that no password is shown."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cogumi.errors import InputError, RunError
from deployments.local_server import free_port
from deployments.pools import job_template
from deployments.processes import Processes
from deployments.site import POOLS, Site, asynchronous, checked, saved_site
from deployments.stack import cards_of_no_pool, down, status, up, workers_of


def test_server_and_clients_are_told_the_same_address(tmp_path: Path) -> None:
    site = checked(Site(str(tmp_path), ".", port=4555))
    server, client = site.server_environment(), site.client_environment()
    assert {name: server[name] for name in client} == client
    for name in ("PREFECT_API_URL", "PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL"):
        assert server[name] == "http://127.0.0.1:4555/api", "else the dashboard asks port 4200"
    assert server["PREFECT_SERVER_UI_V2_ENABLED"] == "false" == server["PREFECT_SERVER_ANALYTICS_ENABLED"]
    assert int(client["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) == 30
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in server, "SQLite in the home folder"
    assert Path(client["COGUMI_HOME"]).is_absolute()


def test_postgresql_and_redis_by_url(tmp_path: Path) -> None:
    site = checked(Site(str(tmp_path), ".", database_url="postgresql://u@h/db", redis_url="redis://h:6379/3"))
    server = site.server_environment()
    assert server["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "postgresql+asyncpg://u@h/db"
    assert asynchronous("postgresql+asyncpg://u@h/db") == "postgresql+asyncpg://u@h/db"
    assert server["PREFECT_REDIS_MESSAGING_URL"] == "redis://h:6379/3"
    assert server["PREFECT_MESSAGING_BROKER"] == "prefect_redis.messaging"


@pytest.mark.parametrize(
    "bad",
    [{"database_url": "mysql://user:hunter2@h/db"}, {"database_url": "hunter2"}, {"redis_url": "http://hunter2@h"}],
)
def test_other_urls_are_refused_without_showing_a_password(tmp_path: Path, bad: dict[str, str]) -> None:
    with pytest.raises(InputError, match="site-bad-url") as refused:
        checked(replace(Site(str(tmp_path), "."), **bad))  # type: ignore[arg-type]
    assert "hunter2" not in str(refused.value)


def test_a_port_that_is_taken_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match="port-taken"):
            up(tmp_path / "home", {"port": taken.getsockname()[1]})
    assert status(tmp_path / "home") is None, "nothing was written"


def test_a_site_is_remembered(tmp_path: Path) -> None:
    site = checked(Site(str(tmp_path), ".", port=4556, simulate=True))
    site.save()
    assert saved_site(tmp_path) == site
    assert (tmp_path / "site.json").stat().st_mode & 0o077 == 0, "a database URL may hold a password"
    standing = status(tmp_path)
    assert standing is not None and not standing.answers and standing.processes == {}


def test_what_is_not_given_again_stays_and_a_server_that_is_up_does_not_move(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        checked(Site(str(tmp_path), ".", port=taken.getsockname()[1])).save()
        with pytest.raises(RunError, match=rf"port-taken.*{taken.getsockname()[1]}"):
            up(tmp_path, {})
    processes = Processes(tmp_path)
    processes.start("server", [sys.executable, "-c", "import time; time.sleep(60)"], {}, tmp_path)
    try:
        with pytest.raises(RunError, match="site-is-up"):
            up(tmp_path, {"port": 4999})
    finally:
        processes.stop("server", 5)


def test_only_a_simulated_pool_lets_gpu_work_run_on_a_cpu() -> None:
    cpu, *gpu = POOLS
    for pool in gpu:
        plain = job_template(pool, simulate=False)["variables"]["properties"]["env"]["default"]
        simulated = job_template(pool, simulate=True)["variables"]["properties"]["env"]["default"]
        assert "COGUMI_SIMULATE" not in plain and simulated["COGUMI_SIMULATE"] == "1"
        assert plain["COGUMI_POOL"] == pool.name and plain["COGUMI_GPU"].split(",")[0] in pool.name.upper()
    assert "COGUMI_SIMULATE" not in job_template(cpu, simulate=True)["variables"]["properties"]["env"]["default"]


def test_without_a_gpu_only_a_simulated_site_has_gpu_workers(tmp_path: Path) -> None:
    site = Site(str(tmp_path), ".")
    assert [name for name, _, _ in workers_of(site, [])] == ["worker-cpu"]
    assert [name for name, _, _ in workers_of(replace(site, simulate=True), [])] == [
        "worker-cpu", "worker-gpu-h100-simulated", "worker-gpu-a100-simulated"
    ]  # fmt: skip


def test_one_worker_a_gpu(tmp_path: Path) -> None:
    cards = ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4", "NVIDIA H200", "NVIDIA L4"]
    found = {name: (pool, more) for name, pool, more in workers_of(Site(str(tmp_path), "."), cards)}
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert found["worker-gpu-h100-2"] == ("gpu-h100", {**order, "CUDA_VISIBLE_DEVICES": "2"})
    assert found["worker-gpu-a100-1"] == ("gpu-a100", {**order, "CUDA_VISIBLE_DEVICES": "1"})
    assert sorted(found) == ["worker-cpu", "worker-gpu-a100-1", "worker-gpu-h100-0", "worker-gpu-h100-2"]
    assert cards_of_no_pool(cards) == ["NVIDIA L4"]


@pytest.mark.alone
def test_the_first_page_of_a_new_site_stands_within_a_minute(tmp_path: Path) -> None:
    home = tmp_path / "home"
    began = time.monotonic()
    try:
        standing = up(home, {"port": free_port(), "work": str(tmp_path)})
        page = httpx.get(standing.site.root, timeout=60)
        assert time.monotonic() - began <= 60
        assert page.status_code == 200 and '<div id="app">' in page.text
        assert all(standing.processes.values())
    finally:
        down(home, grace_s=2)
