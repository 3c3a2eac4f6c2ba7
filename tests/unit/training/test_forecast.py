"""Forecasts: the stored results are what the table says, own runs come first, and the price follows from the hours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.parts.llama8b import batches
from cogumi.cli.forecasts import forecast_adapters, forecast_base, forecast_draft, told_of
from cogumi.recipe import load_recipe
from cogumi.store.artifacts import new_artifact
from cogumi.training.forecast import MEASURED, Speed, forecast, known_speeds, together

ROOT = Path(__file__).parents[3]
PRICED = ["train.usd_per_hour=2", "draft.usd_per_hour=2", "base.usd_per_hour=2"]
BIG = ["train.base=meta-llama/Llama-3.1-8B-Instruct", "draft.target=meta-llama/Llama-3.1-8B-Instruct"]


def stored(speed: Speed) -> Any:
    return json.loads((ROOT / speed.source).read_text())


def test_every_speed_of_the_table_is_one_of_a_stored_result() -> None:
    a_step = sum(episode.tokens for batch in batches(8) for episode in batch) / 8
    for speed in MEASURED:
        told = stored(speed)
        if "meta-" in speed.source:
            figures = {name: figure["value"] for name, figure in told["figures"].items()}
            first, fomaml = figures["first order"], figures["our packed FOMAML / first order"]
            rates = {"anil1": a_step / first, "anil": a_step / figures["second order"],
                     "fomaml": a_step / (first * fomaml), "sft": figures["dense LoRA SFT, 4096 tokens"]}  # fmt: skip
            assert speed.tokens_per_s == pytest.approx(rates[speed.kind], rel=1e-3)
        else:
            assert round(speed.tokens_per_s) in set(numbers(told)), speed


def numbers(told: Any) -> list[int]:
    """Rounded tokens a second of a document, and tokens over seconds where it tells those."""
    found: list[int] = []
    if isinstance(told, dict):
        if "tokens_per_s" in told:
            found.append(round(told["tokens_per_s"]))
        if {"tokens", "seconds"} <= told.keys() and told["seconds"]:
            found.append(round(told["tokens"] / told["seconds"]))
    for value in told.values() if isinstance(told, dict) else told if isinstance(told, list) else ():
        found += numbers(value)
    return found


def test_it_is_scaled_by_size_and_a_small_model_gains_no_more_than_four_times() -> None:
    one, double = (forecast("sft", size, 1e6, "H100") for size in (8.03e9, 16.06e9))
    assert one is not None and double is not None and double.hours == pytest.approx(2 * one.hours)
    assert one.hours == pytest.approx(1e6 / 12_833 / 3600) and one.usd is None
    small, smaller = (forecast("sft", size, 1e6, "H100") for size in (8.03e9 / 4, 8.03e9 / 400))
    assert small is not None and small == smaller
    assert forecast("maml", 8e9, 1e6, "H100") is None and forecast("sft", 1e6, 1e6, "CPU") is None


def test_two_cards_take_a_little_more_than_half_the_time_and_cost_a_little_more() -> None:
    one, two = (forecast("anil", 8.03e9, 1e8, "H100", usd_per_hour=2, processes=count) for count in (1, 2))
    assert one is not None and two is not None
    assert one.hours / two.hours == pytest.approx(1.78) and two.gpu_hours == pytest.approx(2 * two.hours)
    assert one.usd == pytest.approx(2 * one.hours) and two.usd == pytest.approx(4 * two.hours)
    figures = json.loads((ROOT / "benchmarks/results/team-2026-11-26.json").read_text())["figures"]
    assert one.hours / two.hours == pytest.approx(figures["8b, one / two"]["value"], rel=0.01)


def test_own_runs_come_before_the_table_and_simulated_ones_do_not(tmp_path: Path) -> None:
    for name, simulated, rate in (("one", False, 1000.0), ("two", True, 5.0)):
        with new_artifact(tmp_path / name / "adapter", "train_models", "x", {}, 0) as draft:
            device = {"name": "NVIDIA H100 80GB HBM3", "simulated": simulated}
            draft.metrics |= {"algorithm": "anil", "base_parameters": 8e9, "tokens_per_s": rate, "device": device}
    speeds = known_speeds(tmp_path)
    assert [(speed.kind, speed.tokens_per_s, speed.source) for speed in speeds] == [("anil", 1000.0, "one/adapter")]
    near, far = (forecast("anil", size, 3.6e6, "H100", speeds) for size in (8e9, 25.7e6))
    assert near is not None and near.hours == pytest.approx(1) and "one/adapter" in near.basis
    assert far is not None and "adapter-gpu" in far.basis, "of another size, the nearest"
    assert known_speeds(tmp_path / "nowhere") == []


def test_a_teams_speed_is_that_of_its_cards_and_a_part_learned_elsewhere_is_not_this_cards(tmp_path: Path) -> None:
    device = {"name": "NVIDIA H100 80GB HBM3", "simulated": False}
    part = {"steps": 1, "tokens_per_s": 500.0}
    for name, stage, told in (
        ("team", "train_models", {"algorithm": "anil", "base_parameters": 8e9, "tokens_per_s": 1780.0, "processes": 2,
                                  "sft_tokens_per_s": None}),
        ("draft", "train_draft", {"parameters": 1e9, "parts": {"sft": part, "offline": part}, "imitation": "d-sft@v1"}),
        ("sft", "train_draft_sft", {"parameters": 1e9, "parts": {"sft": part}}),
    ):  # fmt: skip
        with new_artifact(tmp_path / name / "x", stage, "x", {}, 0) as draft:
            draft.metrics |= {**told, "device": device}
    found = {(speed.kind, speed.source): speed.tokens_per_s for speed in known_speeds(tmp_path)}
    assert found == {
        ("anil", "team/x"): pytest.approx(1000),
        ("draft-distil", "draft/x"): 500,
        ("draft-sft", "sft/x"): 500,
    }


def test_parts_add_up_and_one_that_is_not_known_leaves_the_whole_open() -> None:
    one, other = (
        forecast("sft", 8.03e9, 1e6, "H100", usd_per_hour=3),
        forecast("write", 8.03e9, 1e6, "H100", usd_per_hour=3),
    )
    both = together([one, other])
    assert one is not None and other is not None and both is not None and one.usd is not None and other.usd is not None
    assert both.hours == pytest.approx(one.hours + other.hours) and both.usd == pytest.approx(one.usd + other.usd)
    assert together([one, None]) is None and together([]) is None and "not known" in told_of(None)


def test_the_specifications_run_is_priced_before_a_card_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """54,000 rows for three epochs, adapter and control: hours, as docs/benchmarks measured a step."""
    monkeypatch.setattr("cogumi.cli.forecasts.cuda_cards", lambda: [])
    recipe = load_recipe("spec-60k", [])
    expected = forecast_adapters(recipe, tmp_path)
    rows = recipe.dataset.rows * (1 - recipe.dataset.split.test - recipe.dataset.split.validation)
    seconds = 3 * rows * 300 * (1 / 13_122 + 1 / 12_833)
    assert expected is not None and expected.gpu_hours == pytest.approx(seconds / 3600, rel=0.01)
    assert expected.usd == pytest.approx(2.0 * expected.gpu_hours) and "meta-2026-11-26" in expected.basis
    known = forecast_adapters(recipe, tmp_path, tokens=13_122 * 3600)
    assert known is not None and known.gpu_hours == pytest.approx(1 + 13_122 / 12_833, rel=0.01)


def test_every_stage_has_one_on_an_h100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogumi.cli.forecasts.cuda_cards", lambda: [])
    wide = ["draft.hidden_size=2048", "draft.intermediate_size=8192", "draft.layers=16", "draft.heads=32"]
    recipe = load_recipe("tiny", [*PRICED, *BIG, *wide, "base.hidden_size=2048", "base.layers=24", "base.heads=32",
                                  "base.intermediate_size=8192"])  # fmt: skip
    for expected in (
        forecast_base(recipe, tmp_path),
        forecast_adapters(recipe, tmp_path),
        forecast_draft(recipe, tmp_path),
    ):
        assert expected is not None and expected.usd == pytest.approx(2 * expected.gpu_hours) and expected.usd > 0
    assert forecast_base(load_recipe("tiny"), tmp_path) is None, "a CPU that has trained nothing yet"
