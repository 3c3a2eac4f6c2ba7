"""Phases in a task's log: each with its beginning, and how far it is every 10 s."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger

from cogumi.phases import WATCHER, Phase

_EVERY_S = 10.0


@contextmanager
def phases_logged() -> Iterator[None]:
    """What is reported inside the block goes to the log of the task that runs, and to whoever watched before."""
    logger, outer = get_run_logger(), WATCHER.get()
    name, logged = "", time.monotonic()

    def watch(phase: Phase) -> None:
        nonlocal name, logged
        outer(phase)
        if phase.name != name or time.monotonic() - logged > _EVERY_S:
            name, logged = phase.name, time.monotonic()
            count = "" if phase.total is None else f", {phase.done:,} of {phase.total:,} {phase.unit}"
            logger.info("%s%s", phase.name, count)

    token = WATCHER.set(watch)
    try:
        yield
    finally:
        WATCHER.reset(token)
