"""Split: train, validation and test by groups, decided by each group's own hash, so that more rows move none."""

from __future__ import annotations

import hashlib
from typing import Literal

from cogumi.recipe import SplitSection

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


def part_of(group: str, section: SplitSection) -> Part:
    """The part a group of near-duplicates belongs to. The same group is in the same part of every version."""
    drawn = int.from_bytes(hashlib.sha256(f"split/{group}".encode()).digest()[:8], "big") / 2**64
    if drawn < section.test:
        return "test"
    return "validation" if drawn < section.test + section.validation else "train"
