"""Near-duplicates at 60,000 rows: ours against rensa with verification, on rows with planted one-word edits.

Rensa sees texts only. Ours also asks for the same numbers and the same answer, so a third set of rows (similar text,
another answer) must stay with ours.
"""

from __future__ import annotations

import time
from random import Random

from rensa import RMinHash, RMinHashDeduplicator

from benchmarks.measuring import Figure, report
from cogumi.dataset.near_duplicates import NearDuplicateIndex, Row, jaccard, shingles

_CONSONANTS, _VOWELS = "bcdfghjklmnprstvw", "aeiou"
_THRESHOLD = 0.8


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    count = 6000 if quick else 60_000
    base, planted, other = make_rows(count)
    rows = [*base, *planted, *other]
    index = NearDuplicateIndex(_THRESHOLD)
    began = time.process_time()
    found = {match.key for match in index.add(rows)}
    ours = time.process_time() - began
    began = time.process_time()
    theirs_found = _rensa(rows)
    theirs = time.process_time() - began
    by_key = {row.key: row for row in base}
    true = {
        row.key for row in planted
        if jaccard(shingles(row.question), shingles(by_key[row.key.split("/")[1]].question)) >= _THRESHOLD
    }  # fmt: skip
    figures = [
        Figure("CPU, ours / rensa with verification", ours / theirs, "ratio", high=1.5),
        Figure("recall of planted near-duplicates", len(found & true) / len(true), "share", low=0.99),
        Figure("rows removed whose answer differs, ours", len(found - {row.key for row in planted}), "rows", high=0),
        Figure("rows removed whose answer differs, rensa", len(theirs_found & {row.key for row in other}), "rows"),
        Figure("ours", ours, "CPU s"),
        Figure("rensa with verification", theirs, "CPU s"),
        Figure("index", index.size_bytes() / len(rows), "bytes a row"),
    ]
    settings = {"rows": len(rows), "planted": len(planted), "other_answers": len(other), "threshold": _THRESHOLD}
    report("dedup", figures, settings, save=save, table=table)


def make_rows(count: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Synthetic questions of about 165 characters; a tenth more with one word changed; a tenth with that and another
    answer.
    """
    rng = Random(0)
    words = [
        "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randint(2, 4))) for _ in range(3000)
    ]

    def edited(text: str) -> str:
        parts = text.split()
        parts[rng.randrange(len(parts) - 1)] = rng.choice(words)
        return " ".join(parts)

    tenth = count // 12
    base = [
        Row(f"b{n}", " ".join(rng.choice(words) for _ in range(24)) + "?", " ".join(rng.sample(words, 3)))
        for n in range(count - 2 * tenth)
    ]
    chosen = rng.sample(base, 2 * tenth)
    planted = [Row(f"p/{row.key}", edited(row.question), row.answer) for row in chosen[:tenth]]
    other = [Row(f"o/{row.key}", edited(row.question), " ".join(rng.sample(words, 3))) for row in chosen[tenth:]]
    return base, planted, other


def _rensa(rows: list[Row]) -> set[str]:
    """Its own deduplicator with LSH, which verifies candidates by their estimated similarity."""
    made = RMinHashDeduplicator(_THRESHOLD, 128, True, 32, 42)
    grams = [list(shingles(row.question)) for row in rows]
    signatures = RMinHash.from_token_sets(grams, 128, 42)
    return {row.key for row, signature in zip(rows, signatures, strict=True) if not made.add(row.key, signature)}
