"""Statistics of rates and of paired comparisons: pure functions, exact where that is possible.

wilson(81, 263)                                    # 95% interval of a share
mcnemar(better=14, worse=5)                        # exact, two-sided
difference(one, other, clusters=passages)          # paired bootstrap over clusters
holm([0.01, 0.04, 0.03])                           # adjusted for several tests
power(rows=100, discordant=0.25, gain=0.05)        # how often a true gain of 5 points would be seen
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Z = 1.959964  # 95%
_DRAWS = 10_000
LEAST_CLUSTERS = 6
"""For a verdict: where all differences of fewer have one sign, that is chance more often than 5% (2 / 2^5)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean over paired rows, its 95% interval, how many rows and independent clusters it is of, and the two-sided
    p-value of no difference, as the draws tell it.
    """

    mean: float
    low: float
    high: float
    rows: int
    clusters: int
    p: float = 1.0


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927); the whole range for nothing."""
    if of == 0:
        return 0.0, 1.0
    share, weight = hits / of, _Z**2 / of
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / of + weight / (4 * of)) / (1 + weight)
    return middle - half if hits else 0.0, middle + half if hits < of else 1.0


def discordant_interval(better: int, worse: int, rows: int) -> tuple[float, float]:
    """The 95% interval of (better - worse) / rows, two shares of the same rows (Bonett and Price 2012, adjusted Wald).
    It has width also where no pair differs: few rows without a difference do not prove that there is none.
    """
    up, down = (better + 1) / (rows + 2), (worse + 1) / (rows + 2)
    half = _Z * math.sqrt((up + down - (up - down) ** 2) / (rows + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def mcnemar(better: int, worse: int) -> float:
    """The two-sided p-value of as uneven a split of discordant pairs by chance (McNemar 1947, exact binomial)."""
    pairs, fewer = better + worse, min(better, worse)
    tail = sum(math.comb(pairs, count) for count in range(fewer + 1)) / 2**pairs if pairs else 1.0
    return min(1.0, 2 * tail)


def difference(
    one: Sequence[float],
    other: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    weights: Sequence[float] | None = None,
    least: int = 2,
) -> Difference:
    """By how much the first is larger, pair by pair; the interval by drawing clusters with replacement (Efron 1979; of
    clusters, Miller 2024, arXiv 2411.00640). Rows of one cluster, such as questions on one passage, are alike.

    With `weights` the values are sums, such as nats of a row's bytes, and the mean is their sum over that of weights.
    Of fewer than `least` clusters the interval is infinitely wide and p is 1: drawing from few is certain of too much.
    Raises ValueError where the sequences differ in length or are empty.
    """
    given = (other, *(each for each in (clusters, weights) if each is not None))
    if not one or any(len(each) != len(one) for each in given):
        raise ValueError("paired values, clusters and weights are of one length, and not of none")
    groups: defaultdict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for number, (first, second) in enumerate(zip(one, other, strict=True)):
        group = groups[clusters[number] if clusters is not None else number]
        group[0] += first - second
        group[1] += 1.0 if weights is None else weights[number]
    sums = list(groups.values())
    rows, mean = len(one), sum(total for total, _ in sums) / sum(weight for _, weight in sums)
    if len(sums) < max(2, least):
        return Difference(mean, -math.inf, math.inf, rows, len(sums))
    import numpy as np  # noqa: PLC0415 - the extra `train`; intervals of shares do without

    means = np.sort(_drawn_means(np.array(sums, dtype=np.float64), seed))
    low, high = float(means[_DRAWS * 25 // 1000]), float(means[-1 - _DRAWS * 25 // 1000])
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Difference(mean, low, high, rows, len(sums), min(1.0, 2 * (tail + 1) / (_DRAWS + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for their number, in the order given (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def power(rows: int, discordant: float, gain: float, level: float = 0.05) -> float:
    """How often McNemar's exact test sees a true gain: `discordant` is the share of rows where two models differ, of
    which the better one wins (discordant + gain) / 2 / discordant. Exact: over all splits that may come.

    Raises ValueError where the gain is larger than the share of rows that differ.
    """
    if not 0 < gain <= discordant <= 1:
        raise ValueError("0 < gain <= discordant <= 1")
    wins = (discordant + gain) / 2 / discordant
    seen = 0.0
    for pairs in range(rows + 1):
        so_many = _binomial(pairs, rows, discordant)
        if so_many < 1e-12:
            continue
        tail, lost = _binomial(0, pairs, 0.5), 0
        while 2 * tail <= level and 2 * lost < pairs:  # so few lost would be seen
            seen += so_many * _binomial(lost, pairs, 1 - wins)
            lost += 1
            tail += _binomial(lost, pairs, 0.5)
    return seen


def _drawn_means(sums_C2: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Means of so many draws of clusters (sum, rows), as many as there are; a few draws at a time, within 64 MiB."""
    import numpy as np  # noqa: PLC0415

    chance, count = np.random.default_rng(seed), len(sums_C2)
    at_once = max(1, (1 << 22) // count)
    means = []
    for start in range(0, _DRAWS, at_once):
        places = chance.integers(0, count, (min(at_once, _DRAWS - start), count), dtype=np.int32)
        means.append(sums_C2[places, 0].sum(1) / sums_C2[places, 1].sum(1))
    return np.concatenate(means)


def _binomial(hits: int, of: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(hits == share * of)
    log = math.lgamma(of + 1) - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)
    return math.exp(log + hits * math.log(share) + (of - hits) * math.log(1 - share))
