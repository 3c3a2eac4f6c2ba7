"""CacheWatch: the first call of a shared prefix goes alone, and a cache that is paid for but never hits is an error.

Calls sent at once would each pay for writing the prefix; once the first has answered, the others read it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cogumi.teachers.types import Request, Usage
from cogumi.teachers.wire_errors import WireError

_TTL_S = {"5m": 300.0, "1h": 3600.0}
_MARGIN = 0.9  # a prefix is written anew a little before the provider forgets it
_CALLS_WITHOUT_A_HIT = 8


@dataclass(slots=True)
class _Prefix:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    kept_until: float = 0.0
    written: int = 0


@dataclass(slots=True)
class CacheWatch:
    """One a teacher. `read_tokens` and `written_tokens` count this process's calls."""

    clock: Callable[[], float] = time.monotonic
    read_tokens: int = 0
    written_tokens: int = 0
    _prefixes: dict[str, _Prefix] = field(default_factory=dict)
    _without_hit: int = 0

    @asynccontextmanager
    async def turn(self, request: Request) -> AsyncIterator[None]:
        """Wait until the prefix of a request is kept; whoever comes first goes alone, and again once it may be gone."""
        if request.cache == "off":
            yield
            return
        prefix = self._prefixes.setdefault(request.system, _Prefix())
        if prefix.kept_until > self.clock():
            yield
            return
        async with prefix.lock:
            if prefix.kept_until <= self.clock():
                yield
                return
        yield

    def warm(self, request: Request) -> bool:
        """Whether the prefix of a request should be in the cache now."""
        prefix = self._prefixes.get(request.system)
        return prefix is not None and prefix.kept_until > self.clock()

    def note(self, request: Request, usage: Usage) -> None:
        """Count a reply. Raises WireError cache-never-hits after 8 calls that could have read and did not."""
        if request.cache == "off":
            return
        prefix = self._prefixes.setdefault(request.system, _Prefix())
        known = prefix.kept_until > 0
        prefix.kept_until = self.clock() + _TTL_S[request.cache] * _MARGIN
        self.read_tokens += usage.cached
        self.written_tokens += usage.cache_written
        self._without_hit = 0 if usage.cached else self._without_hit + known
        if not self.read_tokens and self._without_hit >= _CALLS_WITHOUT_A_HIT:
            told = (
                f"{self._without_hit} calls after the first, {usage.prompt} prompt tokens each, 0 read from the cache"
            )
            raise WireError("cache-never-hits", told)
