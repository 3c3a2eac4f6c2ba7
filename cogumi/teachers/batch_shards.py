"""Splitting requests into batches that stay within a provider's limits: count, bytes, enqueued tokens."""

from __future__ import annotations

from typing import Protocol, TypeVar

from cogumi.recipe import BatchSection

Item = TypeVar("Item", bound="Sized")


class Sized(Protocol):
    """What the split needs to know of a request."""

    @property
    def tokens(self) -> int: ...


def shards_within(items: list[Item], sizes: list[int], section: BatchSection) -> list[list[Item]]:
    """The items in their order, split so that no batch passes a limit.

    An item that passes the byte or token limit by itself gets a batch of its own, for the provider to refuse.

    Args:
        sizes: bytes of each item in the file or body.
    """
    most_bytes = int(section.max_mb * 1_000_000)
    shards: list[list[Item]] = []
    held_bytes = held_tokens = 0
    for item, size in zip(items, sizes, strict=True):
        over = (
            not shards
            or len(shards[-1]) >= section.max_requests
            or held_bytes + size > most_bytes
            or (section.max_enqueued_tokens is not None and held_tokens + item.tokens > section.max_enqueued_tokens)
        )
        if over:
            shards.append([])
            held_bytes = held_tokens = 0
        shards[-1].append(item)
        held_bytes += size
        held_tokens += item.tokens
    return shards
