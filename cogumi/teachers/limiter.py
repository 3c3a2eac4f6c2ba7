"""Limiter: requests and tokens a minute for one provider and model, paced evenly, learned from its replies.

Pacing is the generic cell rate algorithm (ATM Forum TM 4.0, "virtual scheduling"): each request has a
theoretical arrival time one interval after the last. Evenly spaced calls cannot exceed N in any minute,
where a bucket that may be full at the start of a minute sends up to 2N - 1.

Time comes from a monotonic clock only, so a wall clock that jumps changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

_MARGIN = 1.005  # the interval is this much longer, so that jitter on the way cannot push call N+1 into the minute
_CATCH_UP_S = 0.1  # a wake-up this late does not move the schedule
_RECENT = 50
_STORM_SHARE = 0.15
_STORM_LEAST = 3
_LIMIT_HEADERS = ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit", "x-ratelimit-limit")
_TOKEN_HEADERS = ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit")
_LEFT_HEADERS = (
    "x-ratelimit-remaining-requests",
    "anthropic-ratelimit-requests-remaining",
    "x-ratelimit-remaining",
)
_LEFT_TOKEN_HEADERS = ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining")


class Limiter:
    """`rpm` and `tpm` of None mean: no limit known yet; what the headers say is then kept to."""

    def __init__(self, rpm: float | None, tpm: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.rpm = rpm
        self.tpm = tpm
        self._clock = clock
        self._next_request = 0.0
        self._next_token = 0.0
        self._paused_until = 0.0
        self._completion_mean = 300.0
        self._recent_limited: deque[bool] = deque(maxlen=_RECENT)
        self.pauses = 0

    async def acquire(self, prompt_tokens: int, max_tokens: int) -> int:
        """Wait for this call's turn. Returns the tokens reserved, for `settle`."""
        tokens = prompt_tokens + min(max_tokens, int(self._completion_mean * 1.2))
        while True:
            start = self._reserve(tokens)
            pause = self._paused_until
            wait = start - self._clock()
            if wait > 0:
                await asyncio.sleep(wait)
            if self._paused_until == pause or self._clock() >= self._paused_until:
                return tokens

    def settle(self, reserved: int, used: int, completion: int) -> None:
        """Correct the token schedule by what the call really used."""
        self._completion_mean += 0.05 * (completion - self._completion_mean)
        if self.tpm:
            self._next_token += (used - reserved) * 60 / self.tpm

    def observe(self, headers: Mapping[str, str]) -> None:
        """Learn limits from a reply's headers: a stated limit below the configured one, or where none is
        configured, holds.
        """
        self._recent_limited.append(False)
        self.lower(_number(headers, _LIMIT_HEADERS), _number(headers, _TOKEN_HEADERS))

    def lower(self, rpm: float | None, tpm: float | None) -> None:
        """Keep to these limits too, where they are stricter than what is known; None states none."""
        if rpm and (self.rpm is None or rpm < self.rpm):
            self.rpm = rpm
        if tpm and (self.tpm is None or tpm < self.tpm):
            self.tpm = tpm

    def limited(self, headers: Mapping[str, str], wait_s: float | None) -> bool:
        """Note a 429. True where the whole provider must wait, not only this request.

        A 429 that says nothing is left, or that comes among many, is the limit itself: every call waits. A stray
        one (calls left, or alone among good replies) costs only its own request the wait; to stop all for
        it would cost more than half the rate at 5% of strays.
        """
        self.observe(headers)
        self._recent_limited[-1] = True
        left, left_tokens = _number(headers, _LEFT_HEADERS), _number(headers, _LEFT_TOKEN_HEADERS)
        exhausted = left == 0 or left_tokens == 0
        share = sum(self._recent_limited) / len(self._recent_limited)
        storm = left is None and sum(self._recent_limited) >= _STORM_LEAST and share >= _STORM_SHARE
        if not (exhausted or storm):
            return False
        self._pause(wait_s if wait_s is not None else 1.0)
        return True

    def _pause(self, seconds: float) -> None:
        until = self._clock() + seconds
        if until > self._paused_until:
            self.pauses += 1
            self._paused_until = until
            self._next_request = max(self._next_request, until)
            self._next_token = max(self._next_token, until)

    def _reserve(self, tokens: int) -> float:
        now = self._clock()
        start = max(now, self._paused_until)
        if self.rpm:
            interval = 60 * _MARGIN / self.rpm
            turn = max(self._next_request, now - min(interval, _CATCH_UP_S))
            start = max(start, turn)
            self._next_request = turn + interval
        if self.tpm:
            turn = max(self._next_token, now)
            start = max(start, turn)
            self._next_token = turn + tokens * 60 * _MARGIN / self.tpm
        return start


def _number(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = headers.get(name)
        if value is not None:
            try:
                return float(value)
            except ValueError:
                return None
    return None
