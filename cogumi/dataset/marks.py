"""SeenMarks: fingerprints that count as duplicates: many that all shards share, and the few of one shard."""

from __future__ import annotations

from collections.abc import Iterable


class SeenMarks:
    """A set over a shared frozen one, which is not copied: at 60,000 rows a copy for each shard takes megabytes."""

    def __init__(self, shared: frozenset[str], own: Iterable[str] = ()) -> None:
        self._shared = shared
        self._own = set(own)

    def __contains__(self, mark: str) -> bool:
        return mark in self._own or mark in self._shared

    def add(self, mark: str) -> None:
        self._own.add(mark)

    def in_order(self) -> list[str]:
        """All of them, sorted: what a memo of a round is named by."""
        return sorted(self._shared | self._own)
