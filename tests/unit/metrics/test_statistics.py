"""Statistics against their definitions: counting all cases, drawing lots, and figures that were measured elsewhere."""

from __future__ import annotations

import math
from itertools import product
from random import Random

import pytest

from cogumi.metrics.statistics import difference, holm, mcnemar, power, wilson


def test_wilsons_interval_is_where_a_share_is_as_far_as_chance_goes() -> None:
    """The shares p for which |p - hits / of| = z sqrt(p (1 - p) / of)."""
    for hits, of in ((0, 10), (1, 10), (5, 10), (10, 10), (81, 263)):
        for bound in wilson(hits, of):
            assert abs(bound - hits / of) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / of), abs=1e-7)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (3, 3), (7, 1), (0, 6), (9, 2)])
def test_mcnemar_counts_all_ways_that_the_pairs_may_fall(better: int, worse: int) -> None:
    pairs = better + worse
    ways = [sum(way) for way in product((0, 1), repeat=pairs)]
    as_far = sum(abs(2 * ups - pairs) >= abs(better - worse) for ups in ways)
    assert mcnemar(better, worse) == pytest.approx(as_far / len(ways)) == mcnemar(worse, better)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_power_is_what_was_measured_for_paired_benchmarks() -> None:
    """25% of the rows differ: a true gain of 5 points is seen 13% of the time at 100 rows, 57% at 500, 96% at 1,319."""
    found = [power(rows, 0.25, gain) for rows, gain in ((100, 0.05), (100, 0.10), (500, 0.05), (1319, 0.05))]
    assert found == pytest.approx([0.13, 0.44, 0.57, 0.96], abs=0.015)


def test_power_by_drawing_lots() -> None:
    rng, seen, rounds = Random(0), 0, 4000
    for _ in range(rounds):
        drawn = [rng.random() for _ in range(60)]
        better, worse = sum(x < 0.25 for x in drawn), sum(0.25 <= x < 0.35 for x in drawn)
        seen += mcnemar(better, worse) <= 0.05
    assert power(60, 0.35, 0.15) == pytest.approx(seen / rounds, abs=0.025)
    for wrong in ((0.2, 0.3), (0.0, 0.0), (1.2, 0.1)):
        with pytest.raises(ValueError):
            power(10, *wrong)


def test_a_difference_is_paired_and_its_interval_covers_the_truth() -> None:
    rng, covered, rounds = Random(1), 0, 60
    for number in range(rounds):
        easy = [rng.random() for _ in range(80)]
        one = [float(rng.random() < 0.6 * e + 0.3) for e in easy]
        other = [float(rng.random() < 0.6 * e + 0.2) for e in easy]
        found = difference(one, other, seed=number)
        covered += found.low <= 0.1 <= found.high
    assert covered >= 0.86 * rounds, "95% of them, less what chance may take"


def test_rows_of_a_cluster_count_as_one() -> None:
    """The same row ten times is no more evidence than once: the known bad is an interval that shrinks."""
    rng = Random(2)
    one, other = [rng.random() for _ in range(40)], [rng.random() for _ in range(40)]
    single = difference(one, other)
    copied = difference([x for x in one for _ in range(10)], [x for x in other for _ in range(10)],
                        [number for number in range(40) for _ in range(10)])  # fmt: skip
    naive = difference([x for x in one for _ in range(10)], [x for x in other for _ in range(10)])
    assert copied.clusters == 40 and copied.rows == 400 and copied.mean == pytest.approx(single.mean)
    assert copied.high - copied.low == pytest.approx(single.high - single.low, rel=0.1)
    assert naive.high - naive.low < 0.5 * (single.high - single.low)


def test_what_cannot_be_compared() -> None:
    alone = difference([1.0, 0.0], [0.0, 0.0], ["passage", "passage"])
    assert alone.mean == 0.5 and (alone.low, alone.high) == (-math.inf, math.inf)
    for one, other, clusters in (([], [], None), ([1.0], [1.0, 2.0], None), ([1.0], [1.0], ["a", "b"])):
        with pytest.raises(ValueError):
            difference(one, other, clusters)
