"""What batches, cache and guide did to a run's money: the figures against the same run without, over real HTTP."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cogumi.dataset import prompts
from cogumi.dataset.spending import GROUPS, spending
from cogumi.recipe import Recipe, load_recipe
from cogumi.report.build import write_report
from cogumi.store.ledger import Ledger
from cogumi.teachers.server.rehearsal import as_rehearsal
from tests.unit.dataset.running import run_stage

PROMPTS = Path(prompts.__file__).parent / "prompts"
BATCHED = ["dataset.answers_easy.delivery=batch", "dataset.answers_hard.delivery=batch"]
RATES = {"loopback/questioner": (140, 280), "loopback/judge": (150, 600), "loopback/thinker": (2000, 10000)}
RATES["loopback/answerer"] = RATES["loopback/judge"]


def rehearsed(*changes: str) -> Recipe:
    """Recipe `small` in miniature against the embedded provider, without a fault, so that runs differ by the change."""
    calm = ["loopback.fault_share=0", "loopback.wrong_share=0", "loopback.defect_share=0"]
    cells = "dataset.cells={math: {easy: 3, hard: 8}, reading: {hard: 4}}"
    return as_rehearsal(load_recipe("small", [cells, *calm, *changes]))


def hard_prompts(folder: Path) -> tuple[int, float]:
    """(replies, nano-dollars of their prompts): what was paid less the completions, by nothing of our code."""
    with sqlite3.connect(folder / "ledger.db") as ledger:
        query = "select count(*), sum(cost_nanousd), sum(completion_tokens * (case when batch = '' then 10000 else 5000 end)) "
        count, cost, completions = ledger.execute(
            query + "from attempts where stage = 'answers_hard' and state = 'received'"
        ).fetchone()
    return count, cost - completions


def at_list_price(folder: Path) -> float:
    with sqlite3.connect(folder / "ledger.db") as ledger:
        rows = ledger.execute(
            "select model, sum(prompt_tokens), sum(completion_tokens) from attempts group by 1"
        ).fetchall()
    return sum(prompt * RATES[model][0] + completion * RATES[model][1] for model, prompt, completion in rows) / 1e9


@pytest.mark.parametrize(
    "changes",
    [
        ["dataset.answers_hard.guide=true"],
        ["dataset.answers_hard.guide=true", "dataset.answers_hard.cache=5m"],
        ["dataset.answers_hard.guide=true", "dataset.answers_hard.cache=1h", *BATCHED],
    ],
    ids=["guide", "cached", "cached and batched"],
)
async def test_the_guide_costs_what_the_same_run_without_it_does_not(tmp_path: Path, changes: list[str]) -> None:
    delivery = BATCHED if BATCHED[0] in changes else []
    plain = await run_stage(tmp_path, rehearsed(*delivery), "plain")
    guided = await run_stage(tmp_path, rehearsed(*changes), "guided")
    (asked, without), (same, with_guide) = hard_prompts(tmp_path / "plain"), hard_prompts(tmp_path / "guided")
    assert plain["guide_usd"] == 0 and asked == same == 12
    guide, instructions = (len((PROMPTS / f"answer_hard_{name}.md").read_text()) / 4 for name in ("guide", "system"))
    expected = with_guide - without
    if len(changes) > 1:  # the instructions behind the guide are kept with it, so that they too cost less
        prefix = expected + asked * instructions * (1000 if delivery else 2000)
        expected = prefix * guide / (guide + instructions)
    assert guided["guide_usd"] == pytest.approx(expected / 1e9, rel=0.02)


async def test_savings_are_against_single_calls_of_the_same_prompts(tmp_path: Path) -> None:
    changes = ["dataset.answers_hard.guide=true", "dataset.answers_hard.cache=1h", *BATCHED]
    saved = await run_stage(tmp_path, rehearsed(*changes), "saved")
    assert saved["saving_usd"] == pytest.approx(at_list_price(tmp_path / "saved") - saved["cost_usd"], abs=1e-6)
    assert saved["saving_usd"] > 0.3 * at_list_price(tmp_path / "saved")
    plain = await run_stage(tmp_path, rehearsed("dataset.answers_hard.delivery=sync"), "plain")
    assert plain["saving_usd"] == 0


async def test_a_cache_that_is_hardly_read_saves_nothing_and_says_so(tmp_path: Path) -> None:
    """One hard question: its cache is written at twice the price and never read."""
    changes = ["dataset.answers_hard.guide=true", "dataset.answers_hard.cache=1h", "dataset.cells={math: {hard: 1}}"]
    figures = await run_stage(tmp_path, rehearsed(*changes), "lonely")
    assert figures["saving_usd"] < 0
    write_report(tmp_path / "lonely")
    page = " ".join((tmp_path / "lonely" / "report.html").read_text().split())
    assert f"would have cost ${-figures['saving_usd']:.4f} less" in page
    assert f"The guide before hard questions cost ${figures['guide_usd']:.4f} of it" in page


async def test_a_stated_price_is_no_saving(tmp_path: Path) -> None:
    """What a provider charges otherwise than the table is neither batch nor cache."""
    recipe = rehearsed()
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", "r")
    try:
        row = {"stage": "judge", "provider": "loopback", "model": "loopback/judge", "state": "received", "batch": ""}
        sums = {"prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 0, "cache_written_tokens": 0}
        assert ledger.table(*GROUPS) == []
    finally:
        ledger.close()
    assert spending(recipe, [{**row, **sums, "attempts": 1, "cost_nanousd": 7}]).saving_usd == 0
