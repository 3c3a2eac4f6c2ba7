"""The table: models on the same rows, pairs of them, parts of the rows, and what lies beside it in files.

found = table_of({"base": ..., "merged": ...}, told, rows, base="base", main="merged")
found["verdict"], found["models"]["merged"]["bits_per_byte"], found["by_domain"]["merged"]["Math"]["accuracy"]

    comparison.json      models, comparisons, by source, domain and difficulty
    samples.jsonl        side by side: largest gains, largest losses, by chance
    not_right.jsonl      truncated, refused, unparsed and unjudged answers, all of them
    scores/NAME.jsonl    each row of each model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from cogumi.evaluate.comparison import Comparison, compare
from cogumi.evaluate.judging import Outcome
from cogumi.evaluate.reference import Recorded, relative_to
from cogumi.evaluate.row import BenchmarkRow
from cogumi.evaluate.samples import pick_samples
from cogumi.evaluate.scores import Scores, by, to_json
from cogumi.store.files import write_json, write_jsonl

COMPARISON, SAMPLES, NOT_RIGHT, PARTS = "comparison.json", "samples.jsonl", "not_right.jsonl", "scores"
_LISTED = {Outcome.TRUNCATED, Outcome.REFUSED, Outcome.UNPARSED, Outcome.UNJUDGED}


def table_of(
    scored: Mapping[str, Scores],
    told: Mapping[str, Mapping[str, Any]],
    rows: Sequence[BenchmarkRow],
    base: str,
    main: str,
    recorded: Mapping[str, Recorded] | None = None,
) -> dict[str, Any]:
    """`told` are figures of each model. The verdict is that of `main` over `base`; every other model is compared with
    the base too, and a merged model with the same unmerged.

    Raises InputError scores-differ.
    """
    pairs = _pairs(scored, base, main)
    first = pairs[0] if pairs else None
    parts = {"by_source": "source", "by_domain": "domain", "by_difficulty": "difficulty"}
    broken_down = {
        title: {name: by(scores.rows, attrgetter(part)) for name, scores in scored.items()}
        for title, part in parts.items()
    }
    return {
        "models": {name: dict(figures) for name, figures in told.items()},
        "names": list(scored),
        "main": main,
        "verdict": first.verdict if first else None,
        "verdict_shortage": first.shortage if first else "",
        "likelihood_verdict": first.likelihood_verdict if first else None,
        "verdict_of": [first.one, first.other] if first else [],
        "comparisons": [pair.to_json() for pair in pairs],
        "relative_to_gpt4": relative_to(scored[main], rows, recorded),
        **broken_down,
        "rows": len(rows),
    }


def write_table(
    folder: Path,
    found: Mapping[str, Any],
    scored: Mapping[str, Scores],
    rows: Sequence[BenchmarkRow],
    samples: int,
    seed: int,
) -> None:
    """The first three files above; samples are of the pair that the verdict is of. Raises StorageError."""
    one, other = (scored[name] for name in found["verdict_of"] or [found["main"]] * 2)
    write_json(folder / COMPARISON, dict(found))
    write_jsonl(folder / SAMPLES, pick_samples(one, other, rows, samples, seed))
    write_jsonl(folder / NOT_RIGHT, _not_right(scored, rows))


def write_scores(folder: Path, scores: Scores) -> None:
    """The last of the files above, of one model. Raises StorageError."""
    write_jsonl(folder / PARTS / f"{scores.name}.jsonl", to_json(scores))


def _pairs(scored: Mapping[str, Scores], base: str, main: str) -> list[Comparison]:
    named = [(main, base), *((name, base) for name in scored if name != main)]
    named += [("merged", "trained")] if {"merged", "trained"} <= scored.keys() else []
    return [compare(scored[one], scored[other]) for one, other in dict.fromkeys(named) if one != other]


def _not_right(scored: Mapping[str, Scores], rows: Sequence[BenchmarkRow]) -> Iterator[dict[str, Any]]:
    """Answers that count as wrong, or not at all, without having been compared."""
    asked = {row.key: row.prompt for row in rows}
    for name, scores in scored.items():
        for row in scores.rows:
            if row.outcome in _LISTED:
                yield {
                    "model": name,
                    "key": row.key,
                    "source": row.source,
                    "outcome": row.outcome,
                    "detail": row.detail,
                    "prompt": asked[row.key],
                    "answer": row.answer,
                }
