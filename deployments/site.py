"""Site: where a Prefect server with its workers lives on this machine, its pools, and the settings of its processes.

The settings are those that notes of measurements ask for: the first dashboard, which calls no outside host; its API's
address, which it otherwise takes for port 4200; heartbeats, without which a killed run stays "Running".
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from cogumi.errors import InputError
from cogumi.extras import need
from cogumi.store.files import write_json

CHECKOUT = Path(__file__).resolve().parents[1]
HEARTBEAT_S = 30  # Prefect's smallest
QUERY_S = 3  # between a worker's looks for new runs; Prefect's 10 is long for somebody who waits at a form
GRACE_S = 30.0  # that flow runs have to save what they have, once their worker is told to end
REFUSED = 5  # exit code of deployments.register where what was asked for cannot be had
_FILE = "site.json"
_POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")


QUEUES = {"urgent": 1, "default": 5, "scheduled": 10}
"""Queue -> priority, 1 first: what a person waits for goes before what the clock started."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A work pool. `gpus` are the cards it takes, by a part of the name that the driver gives them; empty for none."""

    name: str
    description: str
    gpus: tuple[str, ...] = ()

    def takes(self, card: str) -> bool:
        return any(name in card for name in self.gpus)


POOLS = (
    Pool("cpu", "Dataset generation and pipelines: no GPU needed"),
    Pool("gpu-h100", "Training, decoding and compression on H100 or H200: one process a GPU", ("H100", "H200")),
    Pool("gpu-a100", "Draft models and evaluation on A100: one process a GPU", ("A100",)),
)


@dataclass(frozen=True, slots=True)
class Site:
    """`home` holds databases, logs and process ids; `work` is the folder that runs are written under.

    Without URLs the server keeps its state in SQLite and its events in memory, which is right for one machine.
    `simulate` lets the GPU pools run on a CPU.
    """

    home: str
    work: str
    host: str = "127.0.0.1"
    port: int = 4200
    database_url: str = ""
    redis_url: str = ""
    simulate: bool = False

    @property
    def root(self) -> str:
        return f"http://{self.host}:{self.port}"

    def client_environment(self) -> dict[str, str]:
        """What a process needs to talk to the server, and to run flows for it."""
        return {
            "PREFECT_HOME": str(Path(self.home) / "prefect"),
            "PREFECT_API_URL": f"{self.root}/api",
            "PREFECT_UI_URL": self.root,
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
            "PREFECT_WORKER_QUERY_SECONDS": str(QUERY_S),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "COGUMI_HOME": self.work,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH", "")))),
            **({"COGUMI_LOCKS_URL": self.redis_url} if self.redis_url else {}),
        }

    def server_environment(self) -> dict[str, str]:
        """What the server needs besides."""
        settings = {
            **self.client_environment(),
            "PREFECT_UI_API_URL": f"{self.root}/api",
            "PREFECT_SERVER_UI_API_URL": f"{self.root}/api",
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
        }
        if self.database_url:
            settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = asynchronous(self.database_url)
        if self.redis_url:
            settings |= {
                "PREFECT_REDIS_MESSAGING_URL": self.redis_url,
                "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
                "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
                "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
                "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            }
        return settings

    def save(self) -> None:
        """Keep it in the home folder, for its owner alone: a URL may hold a password."""
        Path(self.home).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(Path(self.home) / _FILE, asdict(self))
        (Path(self.home) / _FILE).chmod(0o600)


def saved_site(home: Path) -> Site | None:
    """The site whose home this is, or None where none was ever brought up."""
    file = home / _FILE
    return Site(**orjson.loads(file.read_bytes())) if file.is_file() else None


def checked(site: Site) -> Site:
    """The site with absolute paths. Raises InputError site-bad-url for a database or Redis URL that is none,
    extra-missing where Redis is asked for without the extra `redis`.
    """
    if site.database_url and urlsplit(site.database_url).scheme not in _POSTGRES:
        raise InputError("site-bad-url", f"--database-url: postgresql://..., not {_shown(site.database_url)}")
    if site.redis_url and urlsplit(site.redis_url).scheme not in ("redis", "rediss"):
        raise InputError("site-bad-url", f"--redis-url: redis://..., not {_shown(site.redis_url)}")
    if site.redis_url:
        need("--redis-url", "prefect_redis")
    return replace(site, home=str(Path(site.home).resolve()), work=str(Path(site.work).resolve()))


def asynchronous(url: str) -> str:
    """A PostgreSQL URL for the driver that Prefect uses."""
    return f"postgresql+asyncpg://{url.split('://', 1)[1]}"


def _shown(url: str) -> str:
    """A URL without what may be a password."""
    return f"{urlsplit(url).scheme or '(no scheme)'}://..."
