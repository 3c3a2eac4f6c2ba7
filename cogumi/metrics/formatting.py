"""Figures as text, for terminals, cards, dashboards and reports. A figure that is null says why.

    counted(1, "question")                                       # "1 question"
    number(4.0521, ".3f")                                        # "4.052"
    percent(0.256)                                               # "25.6%"
    interval([0.5, 2.4], "+.3f")                                 # "+0.500 to +2.400"
    interval(None, "+.3f", Sample(1, "tasks"))                   # "too few tasks (1)"
    estimate(1.45, [None, None], "+.3f", Sample(1, "tasks"))     # "+1.450 (interval: too few tasks (1))"

JSON has neither NaN nor infinity and holds null for both, so that all three are one here: a stage's figures read the
same when it has just ended and when its receipt is read again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

INTERVAL = "ci95"
"""How names of intervals in figures end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a figure is computed from: how many (None where that is not known), of what, and how many it needs."""

    count: int | None
    unit: str
    least: int = 2

    @property
    def shortage(self) -> str:
        """Such as "too few tasks (1)"; empty where there are enough."""
        if self.count is None:
            return f"too few {self.unit}"
        return f"too few {self.unit} ({self.count:,})" if self.count < self.least else ""


def counted(count: int, unit: str, units: str = "") -> str:
    """A count with its unit in the singular or the plural: "1 row", "1,200 rows", "3 replies"."""
    return f"{count:,} {unit if count == 1 else units or unit + 's'}"


def number(value: float | None, spec: str = ".4g", of: Sample | None = None) -> str:
    """A number by a format specification, or why there is none."""
    return format(value, spec) if is_known(value) else _reason(of)


def percent(value: float | None, spec: str = ".1%", of: Sample | None = None) -> str:
    """A share as a percentage, or why there is none."""
    return number(value, spec, of)


def usd(value: float | None, spec: str = ",.4f") -> str:
    """Dollars, or why there are none."""
    return f"${value:{spec}}" if is_known(value) else _reason(None)


def interval(ends: Sequence[float | None] | None, spec: str = ".4g", of: Sample | None = None) -> str:
    """Both ends of an interval, or why there is none: it is null, or an end of it."""
    return _between(ends, spec) or _reason(of)


def estimate(
    value: float | None, ends: Sequence[float | None] | None, spec: str = ".4g", of: Sample | None = None
) -> str:
    """A number with its interval in brackets, or why there is none."""
    if not is_known(value):
        return _reason(of)
    return f"{value:{spec}} ({_between(ends, spec) or f'interval: {_reason(of)}'})"


def described(name: str, value: Any, of: Sample | None = None) -> str:
    """Any figure of a stage in one line, by its name, for tables of all; `of` is the sample of its intervals."""
    if name.endswith(INTERVAL):
        return interval(value, ".4g", of)
    if isinstance(value, Mapping):
        parts = ((key, described(str(key), part, of), isinstance(part, Mapping)) for key, part in value.items())
        return ", ".join(f"{key}: ({shown})" if nested else f"{key}: {shown}" for key, shown, nested in parts)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(described("", part, of) for part in value)
    if value is None or (isinstance(value, float) and not is_known(value)):
        return _reason(None)
    return str(value)


def _between(ends: Sequence[float | None] | None, spec: str) -> str:
    """Empty where the interval is null."""
    known = [format(end, spec) for end in ends or () if is_known(end)]
    return " to ".join(known) if len(known) == 2 else ""


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether a figure is a number, and not null in JSON."""
    return value is not None and math.isfinite(value)


def _reason(of: Sample | None) -> str:
    """Why a figure is null. A sample that suffices leaves only a value that JSON cannot hold."""
    if of is None:
        return "not measured"
    return of.shortage or "not finite"
