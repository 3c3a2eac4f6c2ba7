"""DROP's exact match and F1, as its authors define them (Dua et al. 2019): over bags of words, spans put together one
to one as well as can be.

    em, f1 = drop_score(["21.8", "25 to 44"], [["25 to 44", "21.8"], ["25 to 44"]])   # the best over all gold answers

An answer is a list of spans. Where a gold span has numbers, a span without any of them gets nothing for it.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MOST_SPANS = 14  # of a gold answer, whose best alignment is searched exactly; DROP's longest has 10


def drop_score(given: Sequence[str], golds: Sequence[Sequence[str]]) -> tuple[float, float]:
    """(exact match, F1), each 0 to 1 and each of the gold answer it is highest by. (0, 0) without a gold answer."""
    exact = aligned = 0.0
    for gold in golds:
        if gold and gold[0].strip():
            mine, theirs = [normalised(span) for span in given], [normalised(span) for span in gold]
            exact = max(exact, float(set(mine) == set(theirs) and len(mine) == len(theirs)))
            found = _aligned([set(w.split()) for w in mine], [set(w.split()) for w in theirs])
            aligned = max(aligned, round(found * 100) / 100)  # as the authors round: 0.225 to 0.22
    return exact, aligned


def normalised(text: str) -> str:
    """Lower case, split at spaces and hyphens, without punctuation and articles; numbers as floats."""
    parts = []
    for word in re.split(r" |-", text.lower()):
        bare = word if _is_number(word) else word.translate(_PUNCTUATION)
        bare = str(float(bare)) if _is_number(bare) else bare
        bare = " ".join(_ARTICLES.sub(" ", bare).split())
        if bare:
            parts.append(bare)
    return " ".join(parts)


def _aligned(given: list[set[str]], gold: list[set[str]]) -> float:
    """The mean F1 over the longer of both, the best assignment of spans to gold ones; what is left over counts nothing.

    best[taken] is the largest sum with the gold spans of the bit set `taken` used, given span by given span.
    """
    if not given or not gold:
        return 0.0
    if len(gold) > _MOST_SPANS:
        raise ValueError(f"a gold answer of {len(gold)} spans")
    best = {0: 0.0}
    for mine in given:
        scores = [_f1(mine, theirs) if _numbers_agree(mine, theirs) else 0.0 for theirs in gold]
        for taken, total in list(best.items()):
            for place, score in enumerate(scores):
                if score and not taken & 1 << place:
                    both = taken | 1 << place
                    best[both] = max(best.get(both, 0.0), total + score)
    return max(best.values()) / max(len(given), len(gold))


def _f1(given: set[str], gold: set[str]) -> float:
    shared = len(given & gold)
    precision = shared / len(given) if given else 1.0
    recall = shared / len(gold) if gold else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _numbers_agree(given: set[str], gold: set[str]) -> bool:
    numbers = {word for word in gold if _is_number(word)}
    return not numbers or bool(numbers & given)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
