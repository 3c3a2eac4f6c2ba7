"""On a card: a draft's training killed in each part ends with the same bits, and what it reads softly is the CPU's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cogumi.recipe import DraftSection
from cogumi.training.draft.answers import read_softly
from cogumi.training.draft.distil import Material, train_draft
from cogumi.training.fitting import Step
from cogumi.training.writing import Writing, write_answers
from tests.unit.training.draft.models import model, prompts, tokenizer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")]
SECTION = DraftSection(
    rows_per_step=16, learning_rate=0.01, warmup_steps=2, save_every=3, sft_steps=8, prompts=64, max_new_tokens=40, keep=8,
    offline_steps=8, rounds=2, round_steps=6, round_prompts=24, own_text=0.5,
)  # fmt: skip


def trained(place: Path, kill: tuple[str, int] | None = None) -> dict[str, Tensor]:
    draft, target = model(width=128, seed=1).cuda(), model(2, width=128, seed=2).bfloat16().cuda()
    rows = write_answers(model(2, seed=9), prompts(64), Writing(40, 1.0, 1), tokenizer())

    def watch(part: str, step: Step) -> None:
        if (part, step.step) == kill:
            raise KeyboardInterrupt

    train_draft(draft, target, Material(rows, prompts(64), tokenizer()), SECTION, 3, place, watch)
    return {name: w.detach() for name, w in draft.state_dict().items()}


def test_killed_in_any_part_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    straight = trained(tmp_path / "straight")
    for part, step in (("sft", 5), ("sft-control", 20), ("offline", 4), ("round-1", 6), ("round-2", 2)):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / part, (part, step))
        again = trained(tmp_path / part)
        assert all(torch.equal(again[name], straight[name]) for name in straight), part


def test_what_it_reads_is_what_the_cpu_reads() -> None:
    rows = write_answers(model(2, seed=9), prompts(20), Writing(30, 1.0, 1), tokenizer())
    here = read_softly(model(2, width=128, seed=2), rows, 8)
    there = read_softly(model(2, width=128, seed=2).bfloat16().cuda(), rows, 8)
    for one, other in zip(here, there, strict=True):
        assert (one.log_p_NE.exp() - other.log_p_NE.exp()).abs().mean() < 0.01
