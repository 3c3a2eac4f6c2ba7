"""A draft's training: teacher text, then the target's answers with its distributions, then rounds on fresh text.

    made = train_draft(draft, target, material, section, seed, checkpoints)

Each part is a loop of `fit` with checkpoints of its own, and what is written for it is kept in a file; killed anywhere,
it goes on from there and ends with the same bits. In a round the target answers prompts anew, and the draft a share of
them (`own_text`); the target's distribution is learned at every place of both texts. A proposal counts only while all
before it were taken, so the states that matter are those of the target's text (see `acceptance`); the draft's own text
brings others (Agarwal et al. 2023, GKD; Zhou et al. 2023, DistillSpec).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from cogumi.errors import RunError
from cogumi.lm.chat import Encoded
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.phases import within
from cogumi.recipe import DraftSection
from cogumi.training.draft.answers import read_softly, response_hidden, response_tokens
from cogumi.training.draft.divergence import Divergence, Soft
from cogumi.training.draft.soft_file import load_soft, save_soft
from cogumi.training.fitting import Course, Fitted, Loss, Step, fit, output_loss
from cogumi.training.output_loss import cross_entropy_of
from cogumi.training.stopping import Stop
from cogumi.training.writing import Writing, write_answers

SFT, OFFLINE, CONTROL = "sft", "offline", "sft-control"
_ROUND_SEED = 1000
Watch = Callable[[str, Step], None]
_Row = tuple[Encoded, Soft]


@dataclass(frozen=True, slots=True)
class Material:
    """Teacher rows to imitate, and prompts to answer, both of training rows."""

    rows: Sequence[Encoded]
    prompts: Sequence[list[int]]
    tokenizer: TrainingTokenizer | None
    """None where nothing is to be answered."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Teacher text alone: the weights that distillation goes on from, those of the control, and the end of each part.
    Where it was trained elsewhere: what is told of its parts, and the file of its steps.
    """

    begun: dict[str, Tensor]
    sft: dict[str, Tensor]
    parts: dict[str, Fitted]
    told: dict[str, Any] = field(default_factory=dict)
    metrics: Path | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What training left: the weights of teacher text alone (the draft has the last ones itself), the end of each part,
    and what the target wrote.
    """

    sft: dict[str, Tensor]
    parts: dict[str, Fitted]
    answers: list[Encoded]
    written: dict[str, dict[str, float]]
    """Of each text that was written and read now, not found in its file: rows, tokens of answers, seconds."""

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts.values())


def train_draft(
    draft: LlamaForCausalLM,
    target: LlamaForCausalLM,
    material: Material,
    section: DraftSection,
    seed: int,
    checkpoints: Path,
    watch: Watch = lambda part, step: None,
    stop: Stop | None = None,
    begun: Begun | None = None,
) -> Made:
    """Train `draft` in place, from its beginnings or from what `begun` holds of teacher text. Raises RunError
    run-stopped where it was asked to stop, and as `fit`.
    """
    if begun is None:
        begun = imitate(draft, material.rows, section, seed, checkpoints, watch, stop)
    draft.load_state_dict(begun.begun)
    road = _Road(draft, target, material, section, seed, checkpoints, watch, stop, dict(begun.parts))
    answers = road.written("answers", target, material.prompts, seed)
    road.part(OFFLINE, section.offline_steps, road.distillation(answers, Divergence.KL, seed))
    for number in range(1, section.rounds + 1):
        name, fresh = f"round-{number}", seed + _ROUND_SEED * number
        prompts = _chosen(material.prompts, section.round_prompts, fresh)
        own = round(section.own_text * len(prompts))
        rows = road.written(f"{name}-draft", draft, prompts[:own], fresh)
        rows += road.written(f"{name}-target", target, prompts[own:], fresh)
        loss_of = road.distillation(rows, Divergence(section.loss), fresh)
        road.part(name, section.round_steps, loss_of, section.round_rate)
    return Made(begun.sft, road.parts, [row for row, _ in answers], road.told)


def imitate(
    draft: LlamaForCausalLM,
    rows: Sequence[Encoded],
    section: DraftSection,
    seed: int,
    checkpoints: Path,
    watch: Watch = lambda part, step: None,
    stop: Stop | None = None,
) -> Begun:
    """Teacher text, and its control. It leaves `draft` with the control's weights. Raises as train_draft."""
    road = _Road(draft, draft, Material(rows, [], None), section, seed, checkpoints, watch, stop)
    imitation = _imitation(draft, rows, section.rows_per_step, seed)
    road.part(SFT, section.sft_steps, imitation)
    begun = _copy(draft)
    if section.sft_control:  # as many steps as the draft takes from here on
        more = section.offline_steps + section.rounds * section.round_steps
        road.part(CONTROL, more, lambda step: imitation(section.sft_steps + step))
    return Begun(begun, _copy(draft), road.parts)


@dataclass(slots=True)
class _Road:
    """What the parts share."""

    draft: LlamaForCausalLM
    target: LlamaForCausalLM
    material: Material
    section: DraftSection
    seed: int
    checkpoints: Path
    watch: Watch
    stop: Stop | None
    parts: dict[str, Fitted] = field(default_factory=dict)
    told: dict[str, dict[str, float]] = field(default_factory=dict)

    def part(self, name: str, steps: int, loss_of: Loss, rate: float = 1.0) -> None:
        """Train, or go on; nothing for no steps."""
        if not steps:
            return
        s = self.section
        course = Course(steps, rate * s.learning_rate, s.warmup_steps, s.weight_decay, s.save_every)
        done = fit(self.draft, loss_of, course, self.checkpoints / name, lambda step: self.watch(name, step), self.stop)
        self.parts[name] = done
        if not done.finished:
            raise RunError("run-stopped", f"draft, {name}: step {done.step} of {steps}")

    def written(self, name: str, writer: LlamaForCausalLM, prompts: Sequence[list[int]], seed: int) -> list[_Row]:
        """Answers, with the target's distribution at each place; from their file where it is there."""
        if not prompts:
            return []
        file = self.checkpoints / f"{name}.safetensors"
        held = load_soft(file)
        if held is None:
            assert self.material.tokenizer is not None
            how, began = Writing(self.section.max_new_tokens, 1.0, seed), time.monotonic()
            with within(name):
                rows = write_answers(writer, prompts, how, self.material.tokenizer)
                save_soft(file, rows, read_softly(self.target, rows, self.section.keep))
            held = load_soft(file)
            assert held is not None, "it was just written"
            tokens, seconds = sum(sum(row.mask) for row in rows), round(time.monotonic() - began, 2)
            self.told[name] = {"rows": len(rows), "tokens": tokens, "seconds": seconds}
        return list(zip(*held, strict=True))

    def distillation(self, rows: Sequence[_Row], kind: Divergence, seed: int) -> Loss:
        def loss_of(step: int) -> tuple[Tensor, int]:
            chosen = [rows[number] for number in step_rows(len(rows), self.section.rows_per_step, seed, step)]
            hidden_ND = response_hidden(self.draft, [row for row, _ in chosen])
            soft = Soft.joined([soft for _, soft in chosen]).to(str(hidden_ND.device))
            return output_loss(self.draft, hidden_ND, kind.of(soft)), len(soft)

        return loss_of


def _imitation(draft: LlamaForCausalLM, rows: Sequence[Encoded], count: int, seed: int) -> Loss:
    def loss_of(step: int) -> tuple[Tensor, int]:
        chosen = [rows[number] for number in step_rows(len(rows), count, seed, step)]
        hidden_ND = response_hidden(draft, chosen)
        tokens_N = response_tokens(chosen).to(hidden_ND.device)
        return output_loss(draft, hidden_ND, cross_entropy_of(tokens_N)), len(tokens_N)

    return loss_of


def step_rows(rows: int, count: int, seed: int, step: int) -> list[int]:
    """Which rows a step is of: each once an epoch, in an order that depends on seed and epoch alone."""
    places = [divmod(place, rows) for place in range(step * count, (step + 1) * count)]
    orders = {
        epoch: torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
        for epoch in {epoch for epoch, _ in places}
    }
    return [orders[epoch][within] for epoch, within in places]


def _chosen(prompts: Sequence[list[int]], count: int, seed: int) -> list[list[int]]:
    order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(seed))
    return [prompts[int(number)] for number in order[:count]]


def _copy(model: LlamaForCausalLM) -> dict[str, Tensor]:
    """In the machine's memory: at 1B each is 5 GB that a card has better use for."""
    state: dict[str, Any] = model.state_dict()
    return {name: weight.detach().cpu().clone() for name, weight in state.items()}
