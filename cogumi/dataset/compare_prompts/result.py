"""The result of a comparison: shares with intervals, an exact test, the judge's position bias, tokens and money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cogumi.dataset.compare_prompts.pairs import Pair, PairScores, PromptAnswer
from cogumi.metrics.statistics import discordant_interval, mcnemar, power, wilson

LEVEL = 0.05
GAIN = 0.10
"""The difference that the power is of: ten points."""


def outcome_figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Pairs by outcome, each share with its 95% interval (Wilson); by how much b wins more often than a (Bonett and
    Price), with the exact two-sided sign test over pairs that are not equal; and the verdict.
    """
    counts = Counter(pair.outcome for pair in pairs)
    judged = len(pairs) - counts["left-out"]
    a, b = counts["a"], counts["b"]
    low, high = discordant_interval(b, a, judged)
    p = mcnemar(b, a)
    apart = max(GAIN, (a + b) / judged) if judged else GAIN
    return {
        "questions": len(pairs),
        "pairs": judged,
        **{name: _share(counts[name], judged) for name in ("a", "equal", "b")},
        "difference": {"mean": (b - a) / judged if judged else None, "low": low, "high": high},
        "p": p,
        "test": "sign test, exact",
        "power_of_10_points": power(judged, apart, GAIN) if judged else 0.0,
        "verdict": "inconclusive" if p >= LEVEL else "b better" if b > a else "a better",
        "by": dict(Counter(pair.how for pair in pairs if pair.outcome != "left-out")),
        "left_out": dict(Counter(pair.how for pair in pairs if pair.outcome == "left-out")),
    }


def position_figures(pairs: Iterable[Pair]) -> dict[str, Any]:
    """How often the judge preferred what stood first or second, over both orders of each pair, and the chance of as
    uneven a split where the place does not matter. `inconsistent`: pairs with opposite winners in the two orders.
    """
    judged = [pair for pair in pairs if pair.scores]
    leads = Counter(_lead_of_first(scores) for pair in judged for scores in pair.scores)
    first, second = leads[1], leads[-1]
    return {
        "judgements": leads.total(),
        "first": first,
        "second": second,
        "equal": leads[0],
        "first_share": first / (first + second) if first + second else None,
        "ci95": list(wilson(first, first + second)),
        "p": mcnemar(first, second),
        "inconsistent": sum(pair.inconsistent for pair in judged),
    }


def answer_figures(
    answers: Sequence[PromptAnswer], verdicts: Sequence[str], attempts: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Of one prompt: answers, those that could not be used by reason, what a verifier says of the others, and tokens
    and dollars per answer, by the ledger's attempts (sums by request key).
    """
    received = [answer for answer in answers if answer.request_keys]
    sums: Counter[str] = Counter()
    for answer in received:
        for key in answer.request_keys:
            sums.update(attempts[key])
    count = len(received)
    return {
        "answers": count,
        "unusable": dict(Counter(answer.reason for answer in received if answer.reason)),
        "verified": dict(Counter(verdicts)),
        "prompt_tokens": sums["prompt_tokens"] / count if count else None,
        "cached_tokens": sums["cached_tokens"] / count if count else None,
        "completion_tokens": sums["completion_tokens"] / count if count else None,
        "usd_per_answer": sums["cost_nanousd"] / 1e9 / count if count else None,
    }


def _share(hits: int, of: int) -> dict[str, Any]:
    return {"count": hits, "share": hits / of if of else None, "ci95": list(wilson(hits, of))}


def _lead_of_first(scores: PairScores) -> int:
    """1 where the answer that stood first is preferred, -1 where the second is, else 0."""
    return scores.lead if scores.first == "b" else -scores.lead
