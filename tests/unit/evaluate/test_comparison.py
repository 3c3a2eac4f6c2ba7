"""Pairs of models: what is said of a true difference, of none, and of rows that are alike; gate, routing, samples."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cogumi.errors import CogumiError
from cogumi.evaluate.comparison import Comparison, compare, gate
from cogumi.evaluate.judging import Outcome
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.evaluate.samples import pick_samples
from cogumi.evaluate.scores import RowScore, Scores, by, figures, routed
from cogumi.evaluate.table import table_of


def row(key: str, right: bool | None, nats: float | None = 10.0, source: str = "gsm8k", cluster: str = "") -> RowScore:
    outcome = {True: Outcome.RIGHT, False: Outcome.WRONG, None: Outcome.UNJUDGED}[right]
    domain, difficulty = ("Math", "hard") if int(key) % 2 else ("Coding", "easy")
    return RowScore(
        key,
        source,
        domain,
        difficulty,
        "",
        cluster or key,
        nats,
        5,
        20,
        right,
        float(bool(right)),
        str(outcome),
        "",
        "",
    )


def drawn(name: str, share: float, rows: int, seed: int, nats: float = 10.0) -> Scores:
    chance = Random(seed)
    return Scores(name, [row(str(n), chance.random() < share, nats + chance.gauss(0, 1)) for n in range(rows)])


def test_a_true_difference_is_seen_and_its_sign_is_right() -> None:
    good, bad = drawn("good", 0.8, 400, 1, nats=8.0), drawn("bad", 0.6, 400, 2)
    found = compare(good, bad)
    assert found.verdict == "better" and found.likelihood_verdict == "better"
    assert found.accuracy is not None and found.accuracy.test == "McNemar, exact" and found.accuracy.difference.low > 0
    assert found.likelihood is not None and found.likelihood.high < 0, "fewer bits a byte"
    back = compare(bad, good)
    assert back.verdict == "worse" and back.likelihood_verdict == "worse"
    assert back.accuracy is not None and back.accuracy.difference.mean == -found.accuracy.difference.mean


def test_equal_models_are_called_different_one_time_in_twenty() -> None:
    pairs = [(drawn("a", 0.6, 60, 2 * n), drawn("b", 0.6, 60, 2 * n + 1)) for n in range(60)]
    verdicts = [compare(*pair, seed=n).verdict for n, pair in enumerate(pairs)]
    assert sum(verdict != "inconclusive" for verdict in verdicts) <= 7


def test_rows_that_are_alike_do_not_count_as_many() -> None:
    """Twenty passages of twenty questions, each passage wholly right or wrong: twenty observations, not four hundred."""
    chance = Random(5)
    passages = [(chance.random() < 0.7, chance.random() < 0.45) for _ in range(20)]
    sides = [
        Scores(
            name,
            [
                row(str(20 * p + q), both[side], source="drop", cluster=f"p{p}")
                for p, both in enumerate(passages)
                for q in range(20)
            ],
        )
        for side, name in enumerate(("one", "other"))
    ]
    found = compare(*sides)
    alone = compare(*(Scores(side.name, [replace(each, cluster=each.key) for each in side.rows]) for side in sides))
    assert found.accuracy is not None and alone.accuracy is not None
    assert found.accuracy.test == "bootstrap over clusters" and found.accuracy.difference.clusters == 20
    wide = found.accuracy.difference.high - found.accuracy.difference.low
    assert wide > 3 * (alone.accuracy.difference.high - alone.accuracy.difference.low)
    assert alone.accuracy.p < 1e-6 < found.accuracy.p


def test_several_benchmarks_are_several_tests() -> None:
    sources = ["a", "b", "c", "d"]
    rows = [(f"{n}", sources[n % 4]) for n in range(400)]
    one = Scores("one", [row(key, int(key) % 16 != 0, source=source) for key, source in rows])
    other = Scores("other", [row(key, int(key) % 10 != 0, source=source) for key, source in rows])
    found = compare(one, other)
    raw = [each.p for each in found.sources.values()]
    assert all(each.adjusted >= each.p for each in found.sources.values())
    assert max(each.adjusted for each in found.sources.values()) <= 1 and min(raw) < min(
        e.adjusted for e in found.sources.values()
    )


def test_rows_that_nothing_could_judge_count_neither_way() -> None:
    one = Scores("one", [row("1", None), row("2", True), row("3", True)])
    other = Scores("other", [row("1", True), row("2", None), row("3", False)])
    found = compare(one, other)
    assert found.accuracy is not None and found.accuracy.difference.rows == 1
    unjudged = compare(Scores("a", [row("1", None), row("2", None)]), Scores("b", [row("1", None), row("2", None)]))
    assert unjudged.accuracy is None and unjudged.verdict == "inconclusive"


@pytest.mark.parametrize("cluster", ["", "passage-{}"], ids=["rows", "clusters"])
def test_few_rows_that_all_say_the_same_say_too_little(cluster: str) -> None:
    """Drawing from so few would be certain: of five rows or passages each draw has the sign that all have."""

    def compared(count: int) -> Comparison:
        keys = [(str(n), cluster.format(n // 2)) for n in range(2 * count if cluster else count)]
        new = Scores("new", [row(key, True, 1.0 + int(key) / 100, cluster=of) for key, of in keys])
        return compare(new, Scores("old", [row(key, False, 9.0, cluster=of) for key, of in keys]))

    for count in range(1, 6):
        found = compared(count)
        assert (found.verdict, found.likelihood_verdict) == ("inconclusive", "inconclusive")
        told = found.to_json()
        assert told["shortage"] == f"too few {'clusters' if cluster else 'rows'} ({count})"
        assert all(told[part][end] is None for part in ("accuracy", "bits_per_byte") for end in ("low", "high"))
        with pytest.raises(CogumiError, match=r"gate-not-passed.*too few"):
            gate(found, most_loss=0.99, most_bits=10)
    enough = compared(6)
    assert (enough.verdict, enough.likelihood_verdict, enough.shortage) == ("better", "better", "")


def test_nothing_to_compare_says_so() -> None:
    found = compare(*(Scores(name, [row("1", None, nats=None)]) for name in ("one", "other")))
    assert (found.verdict, found.shortage) == ("inconclusive", "too few rows (0)")


def test_scores_of_other_rows_are_not_compared() -> None:
    with pytest.raises(CogumiError, match="scores-differ") as refused:
        compare(Scores("a", [row("1", True)]), Scores("b", [row("2", True)]))
    assert "0 in common" in str(refused.value)


def test_the_gate_wants_proof_not_the_absence_of_proof() -> None:
    few = compare(drawn("new", 0.8, 10, 1), drawn("old", 0.8, 10, 1))
    assert few.accuracy is not None and few.accuracy.difference.mean == 0
    with pytest.raises(CogumiError, match="gate-not-passed"):
        gate(few, most_loss=0.02)
    same = compare(drawn("new", 0.8, 3000, 1), drawn("old", 0.8, 3000, 1))
    gate(same, most_loss=0.02, most_bits=0.01)
    worse = compare(drawn("new", 0.6, 3000, 1), drawn("old", 0.8, 3000, 2))
    with pytest.raises(CogumiError, match="new for old"):
        gate(worse, most_loss=0.1)
    with pytest.raises(CogumiError, match="bits a byte"):
        gate(compare(drawn("new", 0.8, 3000, 1, nats=12.0), drawn("old", 0.8, 3000, 1)), most_bits=0.05)
    nothing = [Scores(name, [row("1", None)]) for name in "ab"]
    with pytest.raises(CogumiError, match="nothing was judged"):
        gate(compare(*nothing))


def test_figures_say_what_was_not_judged_or_read() -> None:
    rows = [row("1", True), row("2", False), row("3", None), row("4", True, nats=None)]
    found = figures(rows)
    assert (found["n"], found["rows"], found["too_long"]) == (3, 4, 1)
    assert found["accuracy"] == pytest.approx(2 / 3) and found["nll"] == pytest.approx(30 / 15)
    assert found["outcomes"] == {"right": 2, "wrong": 1, "unjudged": 1}
    parts = by(rows, lambda each: each.domain)
    assert parts["Math"]["rows"] == 2 and parts["Coding"]["rows"] == 2
    assert figures([row("1", None, nats=None)])["accuracy"] is None and figures([])["nll"] is None


def test_five_kinds_of_model_stand_in_one_table() -> None:
    """Routed: the one of two models that a router has chosen for each row."""
    base, trained = drawn("base", 0.5, 200, 1), drawn("trained", 0.7, 200, 2, nats=9.0)
    merged, quantised = Scores("merged", trained.rows), drawn("quantised", 0.65, 200, 3, nats=9.1)
    chosen = {each.key: "trained" if each.domain == "Math" else "base" for each in base.rows}
    system = routed("routed", chosen, {"base": base, "trained": trained})
    scored = {each.name: each for each in (base, trained, merged, quantised, system)}
    assert all(each == scored[chosen[each.key]].by_key()[each.key] for each in system.rows)
    told = {name: figures(each.rows) for name, each in scored.items()}
    asked = [BenchmarkRow(k, ("x",), "gsm8k", "Math", Scoring.NUMBER, "", "", {}) for k in chosen]
    keyed = {
        name: Scores(name, [replace(r, key=a.key) for r, a in zip(s.rows, asked, strict=True)])
        for name, s in scored.items()
    }
    found = table_of(keyed, told, asked, "base", "merged")
    assert list(found["models"]) == ["base", "trained", "merged", "quantised", "routed"]
    pairs = [(each["one"], each["other"]) for each in found["comparisons"]]
    assert pairs == [
        ("merged", "base"),
        ("trained", "base"),
        ("quantised", "base"),
        ("routed", "base"),
        ("merged", "trained"),
    ]
    assert found["verdict"] == "better" and found["verdict_of"] == ["merged", "base"]
    equal = found["comparisons"][-1]
    assert equal["verdict"] == "inconclusive" and equal["bits_per_byte"]["mean"] == 0
    with pytest.raises(CogumiError, match="scores-differ"):
        routed("routed", {"0": "base"}, {"base": base, "trained": trained})


def test_samples_are_picked_by_rule() -> None:
    asked = [BenchmarkRow(f"q{n}", ("x",), "gsm8k", "Math", Scoring.NUMBER, "", "", {}) for n in range(40)]
    other = Scores("other", [replace(row(str(n), n % 2 == 0), key=each.key) for n, each in enumerate(asked)])
    one = Scores(
        "one", [replace(row(str(n), n % 4 < 2, nats=10 + n / 10), key=each.key) for n, each in enumerate(asked)]
    )
    found = pick_samples(one, other, asked, 3, seed=1)
    kinds = [each["why"] for each in found]
    assert kinds == ["largest gain"] * 3 + ["largest loss"] * 3 + ["by chance"] * 3
    assert len({each["key"] for each in found}) == 9
    gains = found[:3]
    assert all(
        each["answers"]["one"]["outcome"] == "right" and each["answers"]["other"]["outcome"] == "wrong"
        for each in gains
    )
    assert [each["prompt"] for each in gains] == ["q1", "q5", "q9"], (
        "of equal scores the larger gain of likelihood first"
    )
    assert pick_samples(one, other, asked, 3, seed=1) == found != pick_samples(one, other, asked, 3, seed=2)
