"""Near-duplicates: planted ones are found, rows with other numbers or another answer stay, whatever the order and size."""

from __future__ import annotations

from random import Random

import pytest

from cogumi.dataset.near_duplicates import Match, NearDuplicateIndex, Row, jaccard, numbers, shingles
from cogumi.dataset.split import part_of
from cogumi.domain import DIFFICULTIES
from cogumi.recipe import SplitSection
from cogumi.teachers.procedural import FAMILIES

WORDS = [
    "river",
    "bridge",
    "copper",
    "window",
    "garden",
    "letter",
    "market",
    "engine",
    "candle",
    "harbour",
    "signal",
    "meadow",
    "ticket",
    "barrel",
    "lantern",
    "shelter",
    "museum",
    "pepper",
    "ladder",
    "basket",
    "planet",
    "cellar",
    "butter",
    "orchard",
    "compass",
    "velvet",
    "thunder",
    "mirror",
    "saddle",
    "anchor",
]


def text(rng: Random) -> str:
    return "Tell me why the " + " ".join(rng.choice(WORDS) for _ in range(24)) + " matters."


def edited(given: str, rng: Random) -> str:
    words = given.split()
    words[rng.randrange(4, len(words) - 1)] = rng.choice(WORDS)
    return " ".join(words)


def naive(rows: list[Row], threshold: float) -> set[str]:
    """The oracle: every row against every kept one, by the definition."""
    kept: list[Row] = []
    dropped = set()
    for row in rows:
        same = (
            k for k in kept
            if numbers(k.question) == numbers(row.question) and k.answer.casefold() == row.answer.casefold()
            and jaccard(shingles(k.question), shingles(row.question)) >= threshold
        )  # fmt: skip
        if next(same, None) is None:
            kept.append(row)
        else:
            dropped.add(row.key)
    return dropped


@pytest.mark.parametrize("answers", [1, 40, 10_000])
def test_it_finds_what_comparing_everything_with_everything_finds(answers: int) -> None:
    rng = Random(answers)
    rows = [Row(f"b{n}", text(rng), f"answer {rng.randrange(answers)}") for n in range(300)]
    for n in range(60):
        base = rows[rng.randrange(300)]
        rows.append(Row(f"p{n}", edited(base.question, rng), base.answer))
    expected = naive(rows, 0.8)
    found = {match.key for match in NearDuplicateIndex().add(rows)}
    assert len(expected) > 40
    assert found <= expected and len(found) >= 0.99 * len(expected)


def test_another_number_or_answer_is_another_row() -> None:
    question = (
        "A crate holds 12 jars of honey and a cart carries 30 crates to the market each day; how many jars is that?"
    )
    rows = [
        Row("a", question, "360"),
        Row("other numbers", question.replace("12", "14"), "360"),
        Row("other answer", question.replace("market", "harbour"), "361"),
        Row("same", question.replace("market", "harbour"), "360."),
    ]
    assert NearDuplicateIndex().add(rows) == [Match("same", "a", pytest.approx(0.86, abs=0.06))]


def test_a_negation_makes_another_question() -> None:
    question = "What is the effect of watering a plant on how fast it grows in the first summer?"
    rows = [Row("a", question, "it grows"), Row("b", question.replace("watering", "not watering"), "it grows")]
    assert NearDuplicateIndex().add(rows) == []


def test_long_answers_need_only_be_alike() -> None:
    rng = Random(2)
    question, answer = text(rng), " ".join(rng.choice(WORDS) for _ in range(60))
    rows = [
        Row("a", question, answer),
        Row("alike", edited(question, rng), edited(answer, rng)),
        Row("other", edited(question, rng), " ".join(rng.choice(WORDS) for _ in range(60))),
    ]
    assert [match.key for match in NearDuplicateIndex().add(rows)] == ["alike"]


def test_procedural_rows_are_compared_by_family_and_parameters() -> None:
    rng = Random(0)
    tasks = [family.generate(rng, d) for family in FAMILIES for d in DIFFICULTIES for _ in range(20)]
    rows = [Row(str(n), task.question, task.solution.answer) for n, task in enumerate(tasks)]
    expected, seen = set(), {}
    for row, task in zip(rows, tasks, strict=True):
        identity = (task.family.name, repr(sorted(task.params.items())))
        if seen.setdefault(identity, row.key) != row.key:
            expected.add(row.key)
    found = {match.key for match in NearDuplicateIndex().add(rows)}
    assert found == expected


def test_rows_come_in_pieces_as_well_as_at_once() -> None:
    rng = Random(9)
    rows = [Row(f"b{n}", text(rng), "same") for n in range(120)]
    rows += [Row(f"p{n}", edited(rows[n].question, rng), "same") for n in range(40)]
    index = NearDuplicateIndex()
    pieces = [match for start in range(0, len(rows), 7) for match in index.add(rows[start : start + 7])]
    assert pieces == NearDuplicateIndex().add(rows)
    assert 100 < index.size_bytes() / index.rows < 4000


def test_groups_stay_together_and_shares_are_kept() -> None:
    section = SplitSection(validation=0.1, test=0.2)
    parts = [part_of(f"group {n}", section) for n in range(4000)]
    assert parts == [part_of(f"group {n}", section) for n in range(4000)]
    assert 0.17 < parts.count("test") / 4000 < 0.23 and 0.08 < parts.count("validation") / 4000 < 0.12
    assert part_of("g", SplitSection(validation=0, test=0)) == "train"
