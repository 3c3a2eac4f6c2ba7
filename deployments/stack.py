"""Stack: a whole site by one call: server, work pools, queues, blocks, automations, deployments, workers.

up(Path(".cogumi"), {"port": 4311})   # again: what runs is kept, what is gone is started, what differs is changed
down(Path(".cogumi"), grace_s=30)
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess  # nosec B404 # Prefect's own command and nvidia-smi, fixed arguments
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from cogumi.errors import InputError, RunError, StorageError, address_error
from deployments.processes import Processes
from deployments.site import CHECKOUT, GRACE_S, POOLS, REFUSED, Site, checked, saved_site

_START_S = 180.0
_LOOK_S = 0.5
_LEAST_GRACE_S = GRACE_S + 5  # for a process to end by itself: a worker waits for what its runs save
SERVER = "server"
PREFECT = [sys.executable, "-m", "prefect"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a site stands: each process with whether it lives, and whether the server answers."""

    site: Site
    processes: dict[str, bool]
    answers: bool

    def to_json(self) -> dict[str, Any]:
        return {"dashboard": self.site.root, "api": f"{self.site.root}/api", "home": self.site.home,
                "answers": self.answers, "processes": self.processes}  # fmt: skip


def up(home: Path, changes: dict[str, Any], notify: str = "", say: Say = lambda words: None) -> Standing:
    """Bring a site up. Idempotent: what is not among the `changes` stays as it was when the site was last up.

    Raises InputError site-bad-url, block-unknown; RunError port-taken, port-not-permitted, address-unusable,
    site-is-up; StorageError server-unreachable.
    """
    held = saved_site(home)
    site = checked(replace(held or Site(str(home), str(Path.cwd())), **changes))
    home = Path(site.home)
    processes = Processes(home)
    if processes.find(SERVER) is not None:
        if held is not None and replace(held, simulate=site.simulate) != site:
            raise RunError("site-is-up", held.root)
    else:
        _check_address(site)
    site.save()
    start_server(site, processes)
    say(f"server answers at {site.root}")
    register = [sys.executable, "-m", "deployments.register"]
    register += ["--simulate"] if site.simulate else []
    register += ["--notify", notify] if notify else []
    _run_here(site, register)
    say("work pools, queues, limits, blocks and automations are there")
    _run_here(site, [*PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"])
    say("deployments are there")
    cards = gpus()
    for name, pool, more in workers_of(site, cards):
        worker = [sys.executable, "-m", "deployments.worker", "--pool", pool, "--name", name]
        worker += ["--limit", "1"] if pool != "cpu" else []
        processes.start(name, worker, {**site.client_environment(), **more}, home)
        say(f"worker {name} is there")
    for card in cards_of_no_pool(cards):
        say(f"no worker for {card}: no pool takes it")
    return status(home) or Standing(site, {}, False)


def start_server(site: Site, processes: Processes) -> None:
    """Start the site's server where it is not running, and wait until it answers. Raises StorageError
    server-unreachable.
    """
    command = [*PREFECT, "server", "start", "--host", site.host, "--port", str(site.port)]
    server = processes.start(SERVER, command, site.server_environment(), Path(site.home))
    _wait_for_answer(site, lambda: server.alive, server.log)


def down(home: Path, grace_s: float) -> list[str]:
    """End a site: nothing new is begun, what runs may finish within the grace, then workers and server are ended.

    Returns the processes that had to be killed.
    """
    until = time.monotonic() + grace_s
    site = saved_site(home)
    if site is not None and answers(site):
        _drain(site, until)
    processes = Processes(home)
    workers = [managed.name for managed in processes.all() if managed.name != SERVER]
    killed = processes.stop(workers, max(_LEAST_GRACE_S, until - time.monotonic()))
    return killed + processes.stop([SERVER], _LEAST_GRACE_S)


def _drain(site: Site, until: float) -> None:
    """Pause the pools and wait until no flow run goes on, or the time is over. `up` takes the pools up again."""
    api = f"{site.root}/api"
    asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}, "limit": 1}
    try:
        for pool in POOLS:
            httpx.patch(f"{api}/work_pools/{pool.name}", json={"is_paused": True}, timeout=10)
        while httpx.post(f"{api}/flow_runs/filter", json=asked, timeout=10).json() and time.monotonic() < until:
            time.sleep(_LOOK_S)
    except httpx.HTTPError:
        return  # a server that does not answer has nothing to wait for


def status(home: Path) -> Standing | None:
    """How the site stands, or None where none was ever brought up here."""
    site = saved_site(home)
    if site is None:
        return None
    return Standing(site, {managed.name: managed.alive for managed in Processes(home).all()}, answers(site))


def answers(site: Site) -> bool:
    try:
        return httpx.get(f"{site.root}/api/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def workers_of(site: Site, cards: list[str]) -> list[tuple[str, str, dict[str, str]]]:
    """(name, pool, environment) of each worker: one for `cpu`, one a GPU, and with `simulate` one a GPU pool."""
    found: list[tuple[str, str, dict[str, str]]] = [("worker-cpu", "cpu", {})]
    for pool in POOLS[1:]:
        mine = [number for number, card in enumerate(cards) if pool.takes(card)]
        found += [(f"worker-{pool.name}-{number}", pool.name, _only(number)) for number in mine]
        if site.simulate and not mine:
            found.append((f"worker-{pool.name}-simulated", pool.name, {}))
    return found


def cards_of_no_pool(cards: list[str]) -> list[str]:
    return [card for card in cards if not any(pool.takes(card) for pool in POOLS)]


def _only(number: int) -> dict[str, str]:
    """The environment that shows one card: CUDA's own order is the fastest first, the driver's is by bus."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(number)}


def gpus() -> list[str]:
    """The names of this machine's GPUs, in the driver's order; empty without a driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    done = subprocess.run([command, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)  # nosec B603
    return done.stdout.splitlines() if done.returncode == 0 else []


def _check_address(site: Site) -> None:
    """Raises RunError port-taken, port-not-permitted, address-unusable."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((site.host, site.port))
        except OSError as error:
            raise address_error(error, f"{site.host}:{site.port}") from None


def _wait_for_answer(site: Site, alive: Callable[[], bool], log: str) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and alive():
        if answers(site):
            return
        time.sleep(0.3)
    raise StorageError("server-unreachable", f"{site.root}; its log: {log}")


def _run_here(site: Site, command: list[str]) -> None:
    """A step that talks to the server, in a process of its own: Prefect reads its settings when it is imported."""
    environment = {**os.environ, **site.client_environment()}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)  # nosec B603
    if done.returncode == REFUSED:
        raise InputError(*orjson.loads(done.stdout))
    if done.returncode:
        raise StorageError("server-unreachable", f"{' '.join(command[:4])}: {(done.stdout + done.stderr)[-1500:]}")
