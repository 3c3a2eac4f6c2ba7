"""BatchDesk: a provider's batch API as `BatchedTeacher` uses it, whatever the wire format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from cogumi.teachers.wire_errors import WireError

SDKS = ("anthropic", "openai")
"""What batches go through, of the extra `batch`; single calls need neither."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One request of a batch. `key` is its request key, sent as the custom id; `body` is what a single call sends."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of one item: the reply's bytes, as a single call gives them, or the error."""

    key: str
    body: bytes = b""
    error: WireError | None = None


@dataclass(frozen=True, slots=True)
class BatchLook:
    """The state of a batch. `refusal` is a code of the provider's where it took nothing of it."""

    ended: bool
    refusal: str = ""


class BatchDesk(Protocol):
    """Raises WireError with the code of what went wrong, from every method."""

    def item_bytes(self, item: BatchItem) -> int:
        """The size an item has in the file or body that is sent."""
        ...

    async def submit(self, label: str, items: list[BatchItem]) -> str:
        """Hand a batch in; returns the provider's id."""
        ...

    async def find(self, label: str, keys: set[str], since: float, taken: set[str]) -> str | None:
        """The id of a batch that was handed in under a label but whose id was never learned, or None.

        Args:
            keys: the request keys of its items, for providers that keep no label.
            since: Unix time before which it cannot have been made.
            taken: ids that belong to other batches of ours.
        """
        ...

    async def look(self, batch_id: str) -> BatchLook:
        """Whether it has ended."""
        ...

    def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """The results of an ended batch, in any order; broken lines are left out."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Ask the provider to stop; items not yet answered come back as cancelled."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
