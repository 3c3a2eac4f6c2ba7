"""The provider's own limits: a token bucket that refills by the minute's rate, as OpenAI and Anthropic describe
theirs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """Holds up to `burst` (by default one second's worth, at least 1) and refills at `per_minute` / 60 a second."""

    per_minute: float
    burst: float = 0.0
    _level: float = field(init=False, default=0.0)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.burst = self.burst or max(1.0, self.per_minute / 60)
        self._level, self._at = self.burst, time.monotonic()

    def take(self, amount: float) -> float:
        """Take `amount` and return 0, or take nothing and return the seconds until it could be taken."""
        now = time.monotonic()
        self._level = min(self.burst, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        needed = min(amount, self.burst)
        if self._level >= needed - 1e-9:
            self._level -= amount
            return 0.0
        return (needed - self._level) * 60 / self.per_minute

    @property
    def left(self) -> int:
        return max(0, int(self._level))
