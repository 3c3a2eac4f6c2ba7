"""Spending: what batches and caching saved in a run, and what of its cost the guide was, from the ledger's sums.

spending(recipe, ledger.table("stage", "provider", "model", "state", "batch"))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cogumi.dataset.prompts import answer_prompt, guide_tokens
from cogumi.recipe import Recipe, TeacherSection
from cogumi.teachers.pricing import price_of
from cogumi.teachers.types import Usage

GROUPS = ("stage", "provider", "model", "state", "batch")
"""The columns of the ledger that its sums are taken by."""


@dataclass(frozen=True, slots=True)
class Spending:
    """`saving_usd`: against single calls of the same prompts and answers at list price; negative where a cache was
    written and hardly read. `guide_usd`: the guide's part of what was paid, as it was cached and delivered.
    """

    saving_usd: float
    guide_usd: float


def spending(recipe: Recipe, rows: list[dict[str, Any]]) -> Spending:
    """Of sums by `GROUPS`. Only what a batch or a cache took part in can save: other replies cost what they cost."""
    teachers = {(t.label, t.model): t for t in recipe.teachers.values()}
    saved = guide = 0.0
    for row in rows:
        teacher = teachers.get((row["provider"], row["model"]))
        if teacher is None or row["state"] != "received":
            continue
        if row["batch"] or row["cached_tokens"] or row["cache_written_tokens"]:
            saved += price_of(teacher).cost(Usage(row["prompt_tokens"], row["completion_tokens"])) - row["cost_nanousd"]
        if row["stage"] == "answers_hard" and recipe.dataset.answers_hard.guide:
            guide += _guide_cost(recipe, teacher, row)
    return Spending(saved / 1e9, guide / 1e9)


def _guide_cost(recipe: Recipe, teacher: TeacherSection, row: dict[str, Any]) -> float:
    """Nano-dollars of the guide in these replies: its share of the tokens that a cache wrote and read; where no cache
    took part, four characters per token, as in the estimate.
    """
    price = price_of(teacher)
    if row["batch"] and teacher.batch is not None:
        price = price.batched(teacher.batch.price_share)
    read, written = row["cached_tokens"], row["cache_written_tokens"]
    if not read + written:
        return float(price.cost(Usage(guide_tokens() * row["attempts"])))
    write = price.cache_write_1h if recipe.dataset.answers_hard.cache == "1h" else price.cache_write
    share = guide_tokens() / (len(answer_prompt("", hard=True, guided=True).system) // 4)
    return share * float(read * price.cached + written * write)
