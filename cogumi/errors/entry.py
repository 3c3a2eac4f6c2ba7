"""ErrorEntry: what a person is told of an error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """What a code means, and the next step for the person who sees it."""

    cause: str
    remedy: str
