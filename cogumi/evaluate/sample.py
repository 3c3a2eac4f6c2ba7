"""A sample of a benchmark, spread over its strata by largest remainder; the same rows give the same one in any order.

rows = stratified(checked.rows, count=100, seed=42)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from cogumi.evaluate.row import BenchmarkRow

ROWS, SEED = 100, 42


def stratified(rows: Sequence[BenchmarkRow], count: int = ROWS, seed: int = SEED) -> list[BenchmarkRow]:
    """`count` rows, or all where there are fewer, in proportion by difficulty and subject, sorted by their keys.

    Each stratum gets the whole part of its share, and those with the largest remainders one more (Hamilton's method);
    of equal ones the stratum whose name comes first.
    """
    strata: defaultdict[tuple[str, str], list[BenchmarkRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.key):
        strata[row.stratum].append(row)
    wanted = min(count, len(rows))
    shares = {name: wanted * len(members) / len(rows) for name, members in strata.items()}
    taken = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (taken[name] - shares[name], name))
    for name in by_remainder[: wanted - sum(taken.values())]:
        taken[name] += 1
    found = [
        row
        for name, members in sorted(strata.items())
        for row in Random(f"{seed} {name}").sample(members, taken[name])  # nosec B311 # which rows, not a secret
    ]
    return sorted(found, key=lambda row: row.key)
