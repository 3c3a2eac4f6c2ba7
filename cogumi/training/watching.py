"""WATCHER: who watches training in this process. The command line sets it; stages are told the same with and without
Prefect.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

WATCHER: ContextVar[Callable[[str, Any], None]] = ContextVar("watcher of training", default=lambda what, step: None)
"""Called with what is trained ("base", or an arm) and the step that it took."""
