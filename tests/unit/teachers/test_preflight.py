"""Preflight against the loopback provider: models, dates of ending, credit, free tiers, terms, and what is unusable."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import InputError
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.preflight import Finding, preflight, refuse
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.teachers.types import Needs
from tests.conftest import bill_of

Start = Callable[..., LoopbackProcess]
TODAY = date(2026, 11, 24)


def pointed_at(url: str, *more: str) -> Recipe:
    changes = ["dataset.cells={math: {easy: 3}}"]
    for name in ("questioner", "judge", "answerer", "thinker"):
        root = url if name == "thinker" else f"{url}/v1"
        changes += [f"teachers.{name}.base_url={root}", f"teachers.{name}.allow_loopback_http=true"]
    return load_recipe("tiny", [*changes, *more])


def of(findings: list[Finding], teacher: str) -> dict[str, str]:
    return {finding.code: finding.level for finding in findings if finding.teacher == teacher}


async def test_a_listed_model_is_fine_and_terms_are_told(loopback: Start) -> None:
    findings = await preflight(pointed_at(loopback().url, "teachers.judge.training_allowed=unknown"), {}, TODAY)
    assert of(findings, "answerer") == {"model": "ok"}
    assert of(findings, "judge") == {"model": "ok", "terms": "warning"}
    refuse(findings)


async def test_dates_of_ending(loopback: Start) -> None:
    dates = {"loopback/judge": "2027-01-14", "loopback/answerer": "2028-01-01", "loopback/thinker": "2026-11-23"}
    findings = await preflight(pointed_at(loopback(shutdown_dates=dates).url), {}, TODAY)
    assert of(findings, "judge") == {"shutdown-date": "warning"}
    assert "in 51 days" in next(f.text for f in findings if f.teacher == "judge")
    assert of(findings, "answerer") == {"shutdown-date": "ok"}
    assert of(findings, "thinker") == {"model-ended": "error"}
    with pytest.raises(InputError, match="model-ended"):
        refuse(findings)


async def test_credit_and_free_tiers_are_counted_in_dollars_and_days(loopback: Start) -> None:
    provider = loopback(credit_usd=1.5, free_daily_requests=50)
    recipe = pointed_at(provider.url, "teachers.judge.provider=openrouter", "teachers.judge.usd_per_mtok_in=1",
                        "teachers.judge.usd_per_mtok_out=1")  # fmt: skip
    findings = await preflight(recipe, {"judge": Needs(calls=6000, cost_usd=2.0)}, TODAY)
    assert of(findings, "judge") == {"model": "ok", "credit": "warning"}
    assert "$1.50 of credit left, about $2.00 needed" in [f.text for f in findings]
    free = pointed_at(provider.url, "teachers.judge.provider=openrouter", "teachers.judge.model=loopback/judge:free")
    findings = await preflight(free, {"judge": Needs(calls=6000)}, TODAY)
    assert of(findings, "judge") == {"model-not-listed": "error", "credit": "ok", "free-tier": "warning"}
    assert "6,000 calls at 50 free requests a day take 120 days" in [f.text for f in findings]


async def test_what_cannot_be_asked_is_an_error(loopback: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    away = await preflight(pointed_at("http://127.0.0.1:1"), {}, TODAY)
    assert of(away, "judge") == {"connect-refused": "error"}
    monkeypatch.setenv("WRONG_KEY", "sk-canary-0123456789abcdef")
    locked = loopback(key="another")
    refused = await preflight(pointed_at(locked.url, "teachers.judge.api_key_env=WRONG_KEY"), {}, TODAY)
    assert of(refused, "judge") == {"unauthorized": "error"}
    assert not [f for f in refused if "sk-canary" in f.text]
    keyless = await preflight(pointed_at(locked.url, "teachers.judge.api_key_env=NO_SUCH_KEY"), {}, TODAY)
    assert of(keyless, "judge") == {"key-missing": "error"}


async def test_a_run_stops_before_its_first_call_and_preflight_can_be_left_out(loopback: Start, tmp_path: Path) -> None:
    dates = {"loopback/thinker": "2020-01-01"}
    provider = loopback(shutdown_dates=dates, bill=tmp_path / "bill.tsv")

    async def run(recipe: Recipe) -> None:
        with RunFolder.open(tmp_path, "r", recipe) as folder:
            async with open_dataset_run(recipe, folder) as opened:
                await generate(opened, Plan.for_recipe(recipe))

    with pytest.raises(InputError, match="model-ended"):
        await run(pointed_at(provider.url))
    assert bill_of(tmp_path / "bill.tsv")[0] == 0
    await run(pointed_at(provider.url, "preflight=false"))
    assert bill_of(tmp_path / "bill.tsv")[0] > 0
