"""The one retry policy. SDK retries are 0 and Prefect's only re-enter the ledger, so attempts never multiply."""

from __future__ import annotations

import random
from dataclasses import dataclass

from cogumi.teachers.wire_errors import WireError

_LIMITED = ("rate-limited", "rate-limited-wait")
_MOST_LIMITED = 20
_JITTER = 0.25


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_attempts` in all; before attempt 2, 3, 4 wait `backoff_s` (the last value repeats), +-25%.

    A 429 is no failure of the request: up to 20 of them are waited out beside the attempts.
    """

    max_attempts: int
    backoff_s: tuple[float, ...]

    def wait_s(self, error: WireError, failures: int, limited: int) -> float | None:
        """Seconds before the next attempt, or None to give up.

        Args:
            error: what the last attempt ended with.
            failures: attempts so far that were not 429s, this one included.
            limited: 429s so far, this one included.
        """
        if not error.entry.retry:
            return None
        if error.code in _LIMITED:
            if limited > _MOST_LIMITED:
                return None
            if error.retry_after_s is not None:
                return error.retry_after_s
            return self._backoff(limited)
        if failures >= self.max_attempts:
            return None
        wait = self._backoff(failures)
        return wait if error.retry_after_s is None else max(wait, error.retry_after_s)

    def _backoff(self, after: int) -> float:
        base = self.backoff_s[min(after, len(self.backoff_s)) - 1]
        return base * random.uniform(1 - _JITTER, 1 + _JITTER)
