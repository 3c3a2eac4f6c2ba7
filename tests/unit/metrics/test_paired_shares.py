"""The interval of a difference of two shares of the same rows: how often it holds the truth."""

from __future__ import annotations

from random import Random

import pytest

from cogumi.metrics.statistics import difference, discordant_interval


@pytest.mark.parametrize(("rows", "up", "down"), [(40, 0.02, 0.02), (100, 0.15, 0.10), (500, 0.10, 0.15)])
def test_it_holds_the_truth_nineteen_times_of_twenty(rows: int, up: float, down: float) -> None:
    chance, held = Random(1), 0
    for _ in range(1000):
        drawn = [chance.random() for _ in range(rows)]
        better, worse = sum(x < up for x in drawn), sum(up <= x < up + down for x in drawn)
        low, high = discordant_interval(better, worse, rows)
        held += low <= up - down <= high
    assert held / 1000 >= 0.94


def test_no_difference_among_few_rows_proves_nothing() -> None:
    low, high = discordant_interval(0, 0, 5)
    assert low < -0.3 and high > 0.3
    drawn = difference([1.0] * 5, [1.0] * 5)
    assert (drawn.low, drawn.high) == (0.0, 0.0), "which drawing from the rows alone would take for certainty"
    low, high = discordant_interval(0, 0, 5000)
    assert -0.001 < low < 0 < high < 0.001


def test_it_is_symmetric_and_within_one() -> None:
    assert discordant_interval(9, 2, 30) == pytest.approx([-end for end in reversed(discordant_interval(2, 9, 30))])
    assert discordant_interval(3, 0, 3)[1] == 1.0
