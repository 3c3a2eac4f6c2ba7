"""Worker: Prefect's process worker, which on SIGTERM or Ctrl-C lets its flow runs save what they have before it goes.

    python -m deployments.worker --pool gpu-h100 --name h100-0 --limit 1 --grace 60

Prefect's own worker kills the processes of its flow runs at once, and with them replies that are paid for and on their
way. This one takes no further run, passes the signal on (a dataset run waits for its replies, a training saves a
checkpoint), and ends when they have ended or the grace is over. A second signal ends it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import prefect.main  # noqa: F401 # sets up Prefect's logging
from prefect.workers.process import ProcessWorker, ProcessWorkerResult

from deployments.processes import children_of
from deployments.site import GRACE_S

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_LOOK_S = 0.2
_REPORT_S = 1.0  # for the last words about an ended run to reach the server


class DrainingWorker(ProcessWorker):
    """Knows how many runs it has, and takes none once it is draining."""

    @classmethod
    def __dispatch_key__(cls) -> str:
        return "process, draining"  # beside Prefect's own in its registry, not in its place

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.draining = False
        self.going = 0

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        return [] if self.draining else await super().get_and_submit_flow_runs()

    async def run(self, *args: Any, **settings: Any) -> ProcessWorkerResult:
        self.going += 1
        try:
            return await super().run(*args, **settings)
        finally:
            self.going -= 1


async def work(worker: DrainingWorker, grace_s: float) -> None:
    """Serve the pool until the first signal, then drain."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    service = asyncio.ensure_future(worker.start())

    def on_signal() -> None:
        if asked.is_set():
            service.cancel()
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    waiting = asyncio.ensure_future(asked.wait())
    await asyncio.wait({service, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not service.done():
        await _drain(worker, service, grace_s)
        service.cancel()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await service


async def _drain(worker: DrainingWorker, service: asyncio.Future[None], grace_s: float) -> None:
    worker.draining = True
    loop = asyncio.get_running_loop()
    until, told = loop.time() + grace_s, set[int]()
    while worker.going and loop.time() < until and not service.done():
        for pid in set(children_of(os.getpid())) - told:  # one that was about to start is told when it has
            told.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        await asyncio.sleep(_LOOK_S)
    if told:
        await asyncio.sleep(_REPORT_S)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__.partition("\n")[0])
    parser.add_argument("--pool", required=True, help="the work pool to serve")
    parser.add_argument("--name", help="the worker's name on the dashboard; default: Prefect makes one up")
    parser.add_argument("--limit", type=int, help="flow runs at a time; 1 for a GPU; default: as many as come")
    parser.add_argument("--grace", type=float, default=GRACE_S, help="seconds that flow runs have to save")
    return parser.parse_args(given)


def main() -> None:
    """Serve a pool until told to end."""
    asked = arguments()
    worker = DrainingWorker(asked.pool, name=asked.name, limit=asked.limit, create_pool_if_not_found=False)
    asyncio.run(work(worker, asked.grace))


if __name__ == "__main__":
    main()
