"""The provider's prompt cache: a prefix marked with cache_control is kept once a reply to it has gone out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

FLOOR_TOKENS = 2048
"""Shorter prefixes are never kept, and nobody is told: as the real provider does it."""
_TTL_S = {"5m": 300.0, "1h": 3600.0}


@dataclass(slots=True)
class PromptCache:
    """Prefixes by model; `works` off is a provider whose cache never hits."""

    works: bool = True
    _kept_until: dict[tuple[str, str], float] = field(default_factory=dict)

    def holds(self, model: str, prefix: str) -> bool:
        """Whether a prefix is kept now; looking at it keeps it for longer, see `keep`."""
        return self.works and self._kept_until.get((model, prefix), 0.0) > time.monotonic()

    def keep(self, model: str, prefix: str, ttl: str) -> None:
        """Keep a prefix from now on: called when the reply is ready, so calls sent before that pay for a write too."""
        self._kept_until[model, prefix] = time.monotonic() + _TTL_S[ttl]
