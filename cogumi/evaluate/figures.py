"""What the figures of a validation are computed from; beside a figure that is null it is the reason.

percent(found["accuracy"], of=judged_rows(found))                       # "too few judged rows (0)"
interval((pair["low"], pair["high"]), "+.1%", compared_rows(pair))      # "too few rows (3)"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cogumi.metrics.formatting import Sample
from cogumi.metrics.statistics import LEAST_CLUSTERS


def judged_rows(figures: Mapping[str, Any]) -> Sample:
    """Of a model's accuracy, or of a part of its rows."""
    return Sample(figures["n"], "judged rows", least=1)


def read_tokens(figures: Mapping[str, Any]) -> Sample:
    """Of a model's likelihood, or of a part of its rows."""
    return Sample(figures["tokens"], "tokens", least=1)


def compared_rows(difference: Mapping[str, Any] | None) -> Sample:
    """Of a difference of two models, as JSON has it: rows, or clusters where rows are alike; None has no rows."""
    rows, clusters = (difference["rows"], difference["clusters"]) if difference else (0, 0)
    return Sample(clusters, "rows" if rows == clusters else "clusters", LEAST_CLUSTERS)


def recorded_rows(reference: Mapping[str, Any]) -> Sample:
    """Of a difference from recorded answers."""
    return Sample(reference["n"], "rows", LEAST_CLUSTERS)


def verdict_text(verdict: str, shortage: str) -> str:
    """A verdict, and why it could be no other: "inconclusive, too few rows (3)"."""
    return f"{verdict}, {shortage}" if shortage else verdict
