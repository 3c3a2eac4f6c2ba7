"""Figures as text: numbers as they are, and a reason for each that is null."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogumi.metrics.formatting import Sample, described, estimate, interval, number, percent, usd

ONE = Sample(1, "tasks")


def test_figures_that_are_there() -> None:
    assert number(4.0521, ".3f") == "4.052" and number(1234567, ",") == "1,234,567" and number(0.0) == "0"
    assert percent(0.256) == "25.6%" and percent(-0.05, "+.1%", ONE) == "-5.0%" and usd(1234.5, ",.2f") == "$1,234.50"
    assert interval([0.5, 2.4], "+.3f", ONE) == "+0.500 to +2.400"
    assert estimate(0.25, (0.2, 0.3), ".0%") == "25% (20% to 30%)"


@pytest.mark.parametrize("null", [None, math.nan, math.inf, -math.inf])
def test_a_figure_that_is_null_says_why(null: float | None) -> None:
    assert number(null) == percent(null) == usd(null) == "not measured"
    assert number(null, ".3f", ONE) == percent(null, of=ONE) == "too few tasks (1)"
    assert number(null, ".3f", Sample(1, "rows", least=1)) == "not finite", "enough for it: JSON cannot hold the value"
    assert number(null, of=Sample(None, "tasks")) == "too few tasks", "of a receipt that does not say how many"
    assert number(null, of=Sample(1234, "rows", least=5000)) == "too few rows (1,234)"
    for ends in (None, [], [null, null], [0.1, null], [null, 0.1]):
        assert interval(ends, "+.3f", ONE) == "too few tasks (1)"
        assert estimate(1.45, ends, "+.3f", ONE) == "+1.450 (interval: too few tasks (1))"
    assert estimate(null, [0.1, 0.2], "+.3f", ONE) == "too few tasks (1)"


def test_any_figure_in_one_line() -> None:
    figures = {"sampled": {"mean": 0.25, "ci95": [None, None]}, "greedy": {"mean": math.nan, "ci95": [0.0, 0.12345]}}
    assert described("over_sft", figures, ONE) == (
        "sampled: (mean: 0.25, ci95: too few tasks (1)), greedy: (mean: not measured, ci95: 0 to 0.1235)"
    )
    assert described("gain_ci95", [None, None], Sample(0, "tasks")) == "too few tasks (0)"
    assert described("names", ["base", None, True, 3]) == "base, not measured, True, 3"


@given(st.one_of(st.none(), st.floats(), st.integers()), st.sampled_from([".3f", "+.1%", ".4g", ",.2f"]))
def test_no_number_is_shown_as_none(value: float | None, spec: str) -> None:
    shown = number(value, spec, ONE)
    assert not {"None", "nan", "inf"} & set(shown.split()) and (
        shown == "too few tasks (1)" or shown[-1] in "0123456789%"
    )
