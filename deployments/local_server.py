"""local_server: a Prefect server for as long as a block lasts, in a home of its own; for tests and benchmarks.

with local_server(Path("home")) as environment:
    subprocess.run([...], env={**os.environ, **environment})     # PREFECT_API_URL and what belongs to it
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.processes import Processes
from deployments.site import Site
from deployments.stack import SERVER, start_server

_GRACE_S = 20.0


@contextmanager
def local_server(home: Path) -> Iterator[dict[str, str]]:
    """Start a server on a free loopback port; yields, once it answers, the environment its clients need.

    It is a site without pools, deployments and workers. Raises StorageError server-unreachable.
    """
    site = Site(str(home), str(home), port=free_port())
    processes = Processes(home)
    try:
        start_server(site, processes)
        yield site.client_environment()
    finally:
        processes.stop([SERVER], _GRACE_S)


def free_port() -> int:
    """A loopback port that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
