"""Where Prefect's console log goes: to the terminal, but the temporary server's to a file.

That server is stopped with the command that started it, and says so at length when a batch of its events is cut off by
it; events are written again or belong to a run that has ended, so none of it is news to whoever reads the terminal.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

LOG = "temporary-server.log"  # below PREFECT_HOME


def _stream() -> TextIO:
    if "PREFECT__SERVER_EPHEMERAL" not in os.environ:  # Prefect sets it for the server it starts
        return sys.stderr
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    home.mkdir(parents=True, exist_ok=True)
    return (home / LOG).open("a", encoding="utf-8", buffering=1)


stream = _stream()
