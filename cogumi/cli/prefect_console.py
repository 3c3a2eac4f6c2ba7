"""Where Prefect's console log goes: to the terminal, but the temporary server's to a file.

That server is stopped with the command that started it, and says so at length when a batch of its events is cut off by
it; events are written again or belong to a run that has ended, so none of it is news to whoever reads the terminal.

Errors of the catalogue are left out, and what becomes of the tasks that a stop cancels: the command prints its error at
its end, and the dashboard's logs have the rest.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import TextIO

from prefect.logging.handlers import PrefectConsoleHandler

LOG = "temporary-server.log"  # below PREFECT_HOME

_TOLD_ANYWAY = re.compile(
    r"^\[[a-z-]+\].*\n  cause:  |Finished in state .*Error: \[[a-z-]+\]"
    r"|(Crash detected! |Finished in state Crashed\(.)Execution was (cancelled|aborted)"
    r"|Failed to write result: Failed to serialize object of type '\w*(Error|Interrupted)'"
    r"|Still processing items: ",
    re.DOTALL,
)


class TerminalHandler(PrefectConsoleHandler):
    """Prefect's own, without what the command itself says."""

    def emit(self, record: logging.LogRecord) -> None:
        if _TOLD_ANYWAY.search(record.getMessage()) is None:
            super().emit(record)


def _stream() -> TextIO:
    if "PREFECT__SERVER_EPHEMERAL" not in os.environ:  # Prefect sets it for the server it starts
        return sys.stderr
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    home.mkdir(parents=True, exist_ok=True)
    return (home / LOG).open("a", encoding="utf-8", buffering=1)


stream = _stream()
