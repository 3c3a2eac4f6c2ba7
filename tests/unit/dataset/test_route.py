"""Routes: what the recipe fixes stands; `auto` is the cheapest within the deadline; the sums are those done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cogumi.dataset.estimate import estimate
from cogumi.dataset.route import Calls, choose_routes
from cogumi.dataset.steps import settled_routes
from cogumi.recipe import Recipe, load_recipe, preset_names
from cogumi.store.ledger import Ledger

AUTO = ["dataset.answers_easy.delivery=auto", "dataset.answers_hard.delivery=auto"]
JUDGE = Calls("judge", "gpt", 6_000, 900, 300, 0, 60.0)
EASY = Calls("answers_easy", "gpt", 24_000, 140, 200, 0, 300.0)
GUIDE = "dataset.answers_hard.guide=true"


def hard(cache: str = "1h", minutes: float = 300.0) -> Calls:
    return Calls("answers_hard", "claude", 36_000, 2_300, 900, 2_100, minutes, cache)  # type: ignore[arg-type]


def spec(*overrides: str) -> Recipe:
    return load_recipe("spec-60k", [*AUTO, *overrides])


def ways(recipe: Recipe, *calls: Calls) -> dict[str, str]:
    return {stage: route.way for (stage, _), route in choose_routes(recipe, list(calls)).items()}


def test_without_a_deadline_the_cheaper_way_is_taken() -> None:
    assert ways(spec("dataset.deadline_h=null"), EASY, hard()) == {"answers_easy": "batch", "answers_hard": "batch"}


@pytest.mark.parametrize(("hours", "way"), [(24, "sync"), (24.9, "sync"), (25.1, "batch"), (2, "sync")])
def test_a_batch_is_taken_only_where_its_window_fits_what_the_judge_leaves(hours: float, way: str) -> None:
    """The judge takes an hour, a batch at most 24."""
    assert ways(spec(f"dataset.deadline_h={hours}"), JUDGE, EASY)["answers_easy"] == way


def test_a_deadline_that_no_way_can_keep_takes_single_calls() -> None:
    assert ways(spec("dataset.deadline_h=0.1"), JUDGE, EASY)["answers_easy"] == "sync"


def test_what_the_recipe_fixes_stands_whatever_it_costs() -> None:
    fixed = load_recipe("spec-60k", ["dataset.answers_easy.delivery=sync", "dataset.deadline_h=0.5"])
    assert ways(fixed, EASY, hard()) == {"answers_easy": "sync", "answers_hard": "batch"}


def test_rounds_of_questions_and_judge_are_never_batched_by_auto() -> None:
    assert ways(spec("dataset.judge.delivery=auto", "dataset.deadline_h=null"), JUDGE)["judge"] == "sync"


def test_a_teacher_without_a_batch_api_gets_single_calls() -> None:
    assert ways(spec("teachers.gpt.batch=null", "dataset.deadline_h=null"), EASY)["answers_easy"] == "sync"


@pytest.mark.parametrize(("cache", "write"), [("5m", 2.50), ("1h", 4.00)])
def test_the_price_of_batch_and_cache_is_the_sum_by_hand(cache: str, write: float) -> None:
    """claude-sonnet-5-5: $2 in, $10 out, $0.20 read from the cache; half of each by batch; one call writes the prefix."""
    recipe = spec("dataset.deadline_h=null", GUIDE, f"dataset.answers_hard.cache={cache}")
    assert recipe.teachers["claude"].model == "claude-sonnet-5-5"
    route = choose_routes(recipe, [hard(cache)])["answers_hard", "claude"]
    guide = 2_100 * 0.20 * 36_000 + 2_100 * (write - 0.20)
    assert route.cost_usd == pytest.approx(0.5 * ((200 * 2.00 + 900 * 10.00) * 36_000 + guide) / 1e6)
    assert route.guide_usd == pytest.approx(0.5 * guide / 1e6)
    assert route.plain_usd == pytest.approx((2_300 * 2.00 + 900 * 10.00) * 36_000 / 1e6), "of the same prompts"


def test_a_guide_without_a_cache_is_paid_for_in_every_call() -> None:
    route = choose_routes(spec("dataset.deadline_h=null", GUIDE), [hard("off")])["answers_hard", "claude"]
    assert route.guide_usd == pytest.approx(0.5 * 2_100 * 2.00 * 36_000 / 1e6)
    assert route.cost_usd == pytest.approx(0.5 * route.plain_usd)


def test_the_guide_is_what_the_price_goes_up_by() -> None:
    """spec-60k, in dollars: what the estimate calls the guide's is the difference to the same run without it."""
    plain, guided = estimate(spec()), estimate(spec(GUIDE, "dataset.answers_hard.cache=1h"))
    assert plain["guide"] is None
    assert guided["guide"]["cost_usd"] == pytest.approx(guided["cost_usd"] - plain["cost_usd"], abs=1e-3)
    assert guided["saving_usd"] == pytest.approx(guided["plain_usd"] - guided["cost_usd"], abs=1e-3)
    assert guided["plain_usd"] > plain["plain_usd"] + 36_000 * 2_000 * 2.00 / 1e6, "single calls would send it too"


@pytest.mark.parametrize("preset", preset_names())
def test_presets_take_what_is_cheaper(preset: str) -> None:
    changes = ([GUIDE], [GUIDE, "dataset.answers_hard.cache=5m"], [GUIDE, "dataset.answers_hard.cache=1h"])
    taken, others = estimate(load_recipe(preset)), [estimate(load_recipe(preset, list(change))) for change in changes]
    assert taken["guide"] is None
    assert taken["cost_usd"] < min(other["cost_usd"] for other in others)


def test_nothing_left_to_buy_costs_nothing() -> None:
    none = Calls("answers_hard", "claude", 0, 2_300, 900, 2_100, 0.0, "1h")
    route = choose_routes(spec("dataset.deadline_h=null"), [none])["answers_hard", "claude"]
    assert (route.cost_usd, route.guide_usd, route.plain_usd, route.minutes) == (0, 0, 0, 0)


async def test_a_run_that_is_resumed_goes_the_way_it_began(tmp_path: Path) -> None:
    patient, hurried = spec("dataset.deadline_h=null"), spec("dataset.deadline_h=0.1")
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", "r")
    try:
        first = await settled_routes(patient, ledger, estimate(patient))
        assert first["answers_easy"] == "batch"
        assert estimate(hurried)["stages"] and (await settled_routes(hurried, ledger, estimate(hurried))) == first
        sync = load_recipe("spec-60k", [*AUTO[1:], "dataset.answers_easy.delivery=sync"])
        changed = await settled_routes(sync, ledger, estimate(sync))
        assert changed["answers_easy"] == "sync", "what a person changes in the recipe is followed"
    finally:
        ledger.close()
