"""Compare: two models on the same rows, pair by pair, and what may be said of it.

    found = compare(read_scores(merged), read_scores(base))
    found.verdict                  # "better", "worse" or "inconclusive"
    found.shortage                 # "too few rows (1)" where so few cannot tell; else empty
    gate(found, most_loss=0.02)    # raises RunError gate-not-passed

Accuracy: the difference with its interval by paired bootstrap over clusters (Miller 2024), at least as wide as that of
two shares of the same rows (Bonett and Price 2012), and for rows that are not clustered McNemar's exact p-value.
Likelihood: bits a byte of the references, which tokenizers do not change. Several benchmarks are several tests: their
p-values are adjusted (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import log
from typing import Any

from cogumi.errors import InputError, RunError
from cogumi.evaluate.figures import compared_rows
from cogumi.evaluate.scores import RowScore, Scores
from cogumi.metrics.formatting import estimate
from cogumi.metrics.statistics import LEAST_CLUSTERS, Difference, difference, discordant_interval, holm, mcnemar, power

LEVEL = 0.05
GAIN = 0.05
"""The gain that power is told of: five points."""
BETTER, WORSE, INCONCLUSIVE = "better", "worse", "inconclusive"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of rows that both were judged on: by how much the first is right more often. `p` is McNemar's where no two rows
    are alike, else the bootstrap's; `adjusted` for the number of benchmarks. `power`: how often five points would be
    seen with so many rows, of which so many tell the models apart.
    """

    difference: Difference
    better: int
    worse: int
    p: float
    adjusted: float
    test: str
    power: float

    @property
    def verdict(self) -> str:
        if self.adjusted >= LEVEL:
            return INCONCLUSIVE
        return BETTER if self.difference.mean > 0 else WORSE


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one model with another: accuracy over all and by source (None where nothing was judged), and bits a byte, of
    which less is better (`likelihood` is negative where the first is better).
    """

    one: str
    other: str
    accuracy: Accuracy | None
    likelihood: Difference | None
    sources: dict[str, Accuracy]

    @property
    def verdict(self) -> str:
        """By accuracy, where anything was judged; else by likelihood."""
        return self.accuracy.verdict if self.accuracy is not None else self.likelihood_verdict

    @property
    def shortage(self) -> str:
        """Why the verdict could be no other: too few independent rows were compared. Empty where there were enough."""
        found = self.accuracy.difference if self.accuracy is not None else self.likelihood
        return compared_rows(_json(found) if found is not None else None).shortage

    @property
    def likelihood_verdict(self) -> str:
        found = self.likelihood
        if found is None or found.low <= 0 <= found.high:
            return INCONCLUSIVE
        return BETTER if found.high < 0 else WORSE

    def to_json(self) -> dict[str, Any]:
        """Everything, verdicts included."""
        return {
            "one": self.one, "other": self.other, "verdict": self.verdict, "shortage": self.shortage,
            "accuracy": _accuracy_json(self.accuracy) if self.accuracy else None,
            "bits_per_byte": _json(self.likelihood) if self.likelihood else None,
            "likelihood_verdict": self.likelihood_verdict,
            "sources": {name: _accuracy_json(found) for name, found in self.sources.items()},
        }  # fmt: skip


def compare(one: Scores, other: Scores, seed: int = 0) -> Comparison:
    """Raises InputError scores-differ where they are not of the same rows."""
    mine, theirs = one.by_key(), other.by_key()
    if mine.keys() != theirs.keys():
        told = (
            f"{one.name} has {len(mine)} rows, {other.name} {len(theirs)}, {len(mine.keys() & theirs.keys())} in common"
        )
        raise InputError("scores-differ", told)
    pairs = [(row, theirs[key]) for key, row in mine.items()]
    judged = [(a, b) for a, b in pairs if a.right is not None and b.right is not None]
    of_source: dict[str, list[tuple[RowScore, RowScore]]] = {}
    for a, b in judged:
        of_source.setdefault(a.source, []).append((a, b))
    sources = {name: _accuracy(members, seed) for name, members in sorted(of_source.items())}
    adjusted = holm([found.p for found in sources.values()])
    by_source = {
        name: Accuracy(f.difference, f.better, f.worse, f.p, p, f.test, f.power)
        for (name, f), p in zip(sources.items(), adjusted, strict=True)
    }
    read = [(a, b) for a, b in pairs if a.nats is not None and b.nats is not None and a.size]
    return Comparison(
        one.name, other.name, _accuracy(judged, seed) if judged else None, _likelihood(read, seed) if read else None,
        by_source,
    )  # fmt: skip


def gate(found: Comparison, most_loss: float = 0.02, most_bits: float | None = None) -> None:
    """Whether the first may replace the other: even at the worse end of the interval it loses no more than `most_loss`
    of accuracy, and no more than `most_bits` bits a byte where that is given.

    Raises RunError gate-not-passed, also where nothing was judged or read.
    """
    wrong = []
    accuracy, bits = found.accuracy, found.likelihood
    if accuracy is None or accuracy.difference.low < -most_loss:
        told = "nothing was judged" if accuracy is None else _told(accuracy.difference)
        wrong.append(f"accuracy {told}, at most {most_loss:.3f} may be lost")
    if most_bits is not None and (bits is None or bits.high > most_bits):
        wrong.append(
            f"bits a byte {'not read' if bits is None else _told(bits)}, at most {most_bits:.3f} more are allowed"
        )
    if wrong:
        raise RunError("gate-not-passed", f"{found.one} for {found.other}: {'; '.join(wrong)}")


def _accuracy(pairs: Sequence[tuple[RowScore, RowScore]], seed: int) -> Accuracy:
    clusters = [a.cluster for a, _ in pairs]
    found = difference(
        [float(bool(a.right)) for a, _ in pairs], [float(bool(b.right)) for _, b in pairs], clusters, seed,
        least=LEAST_CLUSTERS,
    )  # fmt: skip
    better = sum(bool(a.right) and not b.right for a, b in pairs)
    worse = sum(bool(b.right) and not a.right for a, b in pairs)
    low, high = discordant_interval(better, worse, len(pairs))
    found = replace(found, low=min(found.low, low), high=max(found.high, high))
    alike = len(set(clusters)) < len(pairs)
    p = found.p if alike else mcnemar(better, worse)
    apart = max(GAIN, (better + worse) / len(pairs))
    seen = power(found.clusters, min(1.0, apart), GAIN)
    return Accuracy(found, better, worse, p, p, "bootstrap over clusters" if alike else "McNemar, exact", seen)


def _likelihood(pairs: Sequence[tuple[RowScore, RowScore]], seed: int) -> Difference:
    bits = [[(row.nats or 0.0) / log(2) for row in side] for side in zip(*pairs, strict=True)]
    sizes, clusters = [float(a.size) for a, _ in pairs], [a.cluster for a, _ in pairs]
    return difference(bits[0], bits[1], clusters, seed, sizes, LEAST_CLUSTERS)


def _told(found: Difference) -> str:
    return estimate(found.mean, [found.low, found.high], "+.4f", compared_rows(_json(found)))


def _json(found: Difference) -> dict[str, Any]:
    """Infinite ends, of one cluster alone, are nothing in JSON."""
    told = asdict(found)
    return told | {end: None for end in ("low", "high") if abs(told[end]) == float("inf")}


def _accuracy_json(found: Accuracy) -> dict[str, Any]:
    return {
        **_json(found.difference), "better": found.better, "worse": found.worse, "p": found.p,
        "p_adjusted": found.adjusted, "test": found.test, "power_of_5_points": found.power, "verdict": found.verdict,
    }  # fmt: skip
