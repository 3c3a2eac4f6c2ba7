"""Figures as people read them, in a terminal and on a dashboard; "-" where there is none."""

from __future__ import annotations

from collections.abc import Sequence


def share(value: float | None, sign: str = "") -> str:
    """0.256 -> "25.6%"."""
    return "-" if value is None else f"{value:{sign}.1%}"


def between(ends: Sequence[float | None] | None, sign: str = "") -> str:
    """(0.2, 0.3) -> "20.0% to 30.0%"."""
    return "-" if not ends or None in ends else " to ".join(share(end, sign) for end in ends)


def number(value: float | None, sign: str = "") -> str:
    """Four digits."""
    return "-" if value is None else f"{value:{sign}.4g}"
