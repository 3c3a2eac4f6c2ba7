"""What a training stage will take, for its dry run: by this machine's own runs, or by what was measured on an H100."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi.lm.device import cuda_cards
from cogumi.recipe import Recipe
from cogumi.training.claim import (
    CPU_PARAMETERS,
    ROW_TOKENS,
    draft_section_of,
    section_of,
    shape_of_base,
    shape_of_draft,
    shape_of_model,
    shape_of_target,
    train_section_of,
)
from cogumi.training.forecast import CPU, H100, Forecast, forecast, known_speeds, together


def forecast_base(recipe: Recipe, root: Path) -> Forecast | None:
    """All steps of a base from nothing."""
    section = section_of(recipe)
    parameters = shape_of_base(section, recipe.dataset.tokenizer.vocab_size).parameters
    tokens = section.steps * section.batch_windows * section.seq_length
    return forecast("base", parameters, tokens, _card(parameters), known_speeds(root), section.usd_per_hour)


def forecast_adapters(recipe: Recipe, root: Path, tokens: int | None = None) -> Forecast | None:
    """Adapter and control, at every learning rate; `tokens` of one arm where the rows are at hand."""
    section, parameters = train_section_of(recipe), shape_of_model(recipe).parameters
    if tokens is None:
        split = recipe.dataset.split
        rows = recipe.dataset.rows * (1 - split.test - split.validation)
        a_step = section.tasks_per_step * (section.support + section.query)
        tokens = (section.steps * a_step if section.steps else round(section.epochs * rows)) * ROW_TOKENS
    kinds = [section.algorithm, *(["sft"] if section.sft_control and section.algorithm != "sft" else [])]
    speeds, card = known_speeds(root), _card(parameters)
    return together(
        forecast(kind, parameters, tokens * len(section.sweep), card, speeds, section.usd_per_hour, section.processes)
        for kind in kinds
    )


def forecast_draft(recipe: Recipe, root: Path) -> Forecast | None:
    """Teacher text and its control, the target's writing, distillation and rounds; measuring is not in it."""
    section, target = draft_section_of(recipe), shape_of_target(recipe)
    shape = shape_of_draft(recipe)
    speeds, card, price = known_speeds(root), _card(target.parameters), section.usd_per_hour
    more = section.offline_steps + section.rounds * section.round_steps
    row = min(ROW_TOKENS, section.max_seq_length)
    imitated = (section.sft_steps + (more if section.sft_control else 0)) * section.rows_per_step * row
    answer = min(section.max_new_tokens, ROW_TOKENS)
    written = (section.prompts + section.rounds * section.round_prompts) * answer
    return together([
        forecast("draft-sft", shape.parameters, imitated, card, speeds, price),
        forecast("write", target.parameters, written, card, speeds, price),
        forecast("draft-distil", shape.parameters, more * section.rows_per_step * answer, card, speeds, price),
    ])  # fmt: skip


def told_of(expected: Forecast | None) -> str:
    """A forecast in words."""
    if expected is None:
        return "how long it takes is not known: nothing of this kind was measured on such a device yet"
    price = "" if expected.usd is None else f", about ${expected.usd:,.2f}"
    clock = "" if expected.hours == expected.gpu_hours else f" ({_span(expected.hours)} by the clock)"
    return f"about {_span(expected.gpu_hours)} of a device{clock}{price}; by {expected.basis}"


def _span(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:,.1f} minutes" if hours * 60 >= 1 else f"{hours * 3600:,.1f} seconds"


def forecast_json(expected: Forecast | None) -> dict[str, Any] | None:
    return None if expected is None else expected.to_json()


def _card(parameters: float) -> str:
    """The card that is here; an H100 where there is none and a CPU would not be asked."""
    cards = cuda_cards()
    if cards:
        return H100 if H100 in cards[0].name else cards[0].name
    return CPU if parameters < CPU_PARAMETERS else H100
