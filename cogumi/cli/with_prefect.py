"""Flows from the command line: Prefect's settings first, then the flow, and a clear word where there is no checkout."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any

from cogumi.cli.interrupts import run_until_interrupted
from cogumi.errors import InputError


def run_flow(name: str, request: Any) -> dict[str, Any]:
    """Run the flow of flows/NAME.py that has the same name; SIGTERM ends it as Ctrl-C does, by KeyboardInterrupt.

    Raises InputError from-wheel where flows/ is not there, prefect-no-server, and what the flow raises.
    """
    _settings()
    try:
        flow = getattr(import_module(f"flows.{name}"), name)
    except ModuleNotFoundError as error:
        raise InputError("from-wheel", str(error)) from None
    from prefect.exceptions import TerminationSignal

    with sigterm_interrupts():
        try:
            return dict(run_until_interrupted(flow(request), sigterm=False) if flow.isasync else flow(request))
        except TerminationSignal:
            raise KeyboardInterrupt from None
        except RuntimeError as error:
            if "ephemeral Prefect API server" not in str(error):
                raise
            raise InputError("prefect-no-server", str(error)) from None


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in the block.

    Prefect has a handler of its own while a flow runs; at its end it gives the signal to the one before. Were that the
    system's, the process would be gone at once, and the temporary server left behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _settings() -> None:
    """Quiet, patient and private, unless the user has said otherwise; read by Prefect when it is imported."""
    settings = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",  # the dashboard gets everything
        "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "cogumi.cli.prefect_console.TerminalHandler",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_STREAM": "ext://cogumi.cli.prefect_console.stream",
        "DO_NOT_TRACK": "1",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
