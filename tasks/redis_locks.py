"""RedisLocks: one worker at a time makes a task's result; the others wait for it and read it.

Prefect's own manager for Redis never releases a lock that an async task took (its release is not awaited), and a lock
without an end outlives its killed holder. Here a lock ends by itself after a minute unless its holder renews it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

from redis import Redis
from redis.exceptions import RedisError

_TTL_S = 60.0
_LOOK_S = 0.2
_IF_MINE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call({}) else return 0 end"
_RENEW = _IF_MINE.format("'pexpire', KEYS[1], ARGV[2]")
_RELEASE = _IF_MINE.format("'del', KEYS[1]")


class RedisLocks:
    """Prefect's LockManager protocol on redis://. Raises redis.RedisError where the server does not answer."""

    def __init__(self, url: str, ttl_s: float = _TTL_S) -> None:
        self._url = url
        self._ttl_s = ttl_s
        self._client = Redis.from_url(url, socket_timeout=10)
        self._held: dict[str, str] = {}
        self._starting = threading.Lock()
        self._renewing: threading.Thread | None = None

    def __reduce__(self) -> tuple[type[RedisLocks], tuple[str, float]]:
        return RedisLocks, (self._url, self._ttl_s)

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Wait at most `acquire_timeout` seconds (None: for ever). Returns whether the lock is this holder's."""
        until = _end(acquire_timeout)
        while not self._take(key, holder):
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_S)
        return True

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """As `acquire_lock`, holding up neither the event loop nor a thread while it waits."""
        until = _end(acquire_timeout)
        while not await asyncio.to_thread(self._take, key, holder):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Raises ValueError where the lock is another's, or has ended."""
        self._held.pop(key, None)
        if not self._client.eval(_RELEASE, 1, _name(key), holder):
            raise ValueError(f"no lock on {key} is held by {holder}")

    def is_locked(self, key: str) -> bool:
        return bool(self._client.exists(_name(key)))

    def is_lock_holder(self, key: str, holder: str) -> bool:
        found = self._client.get(_name(key))
        return isinstance(found, bytes) and found.decode() == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock. Returns whether that came within the timeout."""
        until = _end(timeout)
        while self.is_locked(key):
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_S)
        return True

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - Prefect's name
        """As `wait_for_lock`, holding up neither the event loop nor a thread."""
        until = _end(timeout)
        while await asyncio.to_thread(self.is_locked, key):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    def _take(self, key: str, holder: str) -> bool:
        taken = self._client.set(_name(key), holder, nx=True, px=int(self._ttl_s * 1000))
        if not taken and not self.is_lock_holder(key, holder):
            return False
        self._held[key] = holder
        with self._starting:
            if self._renewing is None:
                self._renewing = threading.Thread(target=self._renew, name="redis-locks", daemon=True)
                self._renewing.start()
        return True

    def _renew(self) -> None:
        """Keep what this process holds, until its end; a server that is away for less than a lock lasts is no harm."""
        while True:
            for key, holder in list(self._held.items()):
                with suppress(RedisError):
                    self._client.eval(_RENEW, 1, _name(key), holder, str(int(self._ttl_s * 1000)))
            time.sleep(self._ttl_s / 3)


def _name(key: str) -> str:
    return f"cogumi:lock:{key}"


def _end(timeout: float | None) -> float:
    return time.monotonic() + (float("inf") if timeout is None else timeout)
