"""On a card: flash attention is attention, and its gradient has the same bits each time, also compiled and resumed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cogumi.training import flash
from cogumi.training.algorithms import Algorithm, Inner, MetaWeights, new_weights
from cogumi.training.attention import plain, varlen
from cogumi.training.body import LlamaBody
from cogumi.training.clusters import Item
from cogumi.training.corpus import Corpus
from cogumi.training.determinism import embedded
from cogumi.training.episodes import EpisodeSampler, fixed_episodes
from cogumi.training.fitting import Step
from cogumi.training.head import OutputHead
from cogumi.training.lora import LoraShape
from cogumi.training.meta_train import MetaSchedule, meta_train
from cogumi.training.pretrain import Schedule, new_llama, pretrain
from cogumi.training.replay import resumes_exactly
from tests.unit.training.models import VOCABULARY, example, llama

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")]
LENGTHS = (900, 37, 1, 600, 256, 513)
HEADS, GROUPS, WIDTH = 8, 4, 64


def inputs(dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, ...]:
    """Queries, keys, values and what comes back, with segments longer than several blocks of keys."""
    chance = torch.Generator().manual_seed(0)
    heads = (HEADS, GROUPS, GROUPS, HEADS)
    made = (torch.randn(sum(LENGTHS), h, WIDTH, generator=chance).bfloat16().to(dtype).cuda() for h in heads)
    return tuple(x.requires_grad_() for x in made)


def gradients(attention, given: tuple[Tensor, ...]) -> list[Tensor]:  # type: ignore[no-untyped-def]
    *needed, back = given
    bounds = torch.tensor([0, *accumulate(LENGTHS)], dtype=torch.int32, device="cuda")
    attended = attention(*needed, bounds, max(LENGTHS))
    return [attended.detach(), *torch.autograd.grad(attended, needed, back)]


def test_it_is_attention() -> None:
    for found, exact in zip(gradients(varlen, inputs()), gradients(plain, inputs(torch.float32)), strict=True):
        assert (found.float() - exact).norm() <= 0.01 * exact.norm()


def test_it_keeps_what_it_promises_to_autograd_and_the_compiler() -> None:
    *needed, _ = inputs()
    bounds = torch.tensor([0, *accumulate(LENGTHS)], dtype=torch.int32, device="cuda")
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(flash.packed_attention, (*needed, bounds, max(LENGTHS)), test_utils=checks)


def test_the_gradient_has_the_same_bits_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known bad: the kernel as it is by default."""
    given = inputs()

    def differ(times: int) -> int:
        first = gradients(varlen, given)
        again = (gradients(varlen, given) for _ in range(times))
        return sum(not all(map(torch.equal, first, other)) for other in again)

    assert differ(100) == 0
    monkeypatch.setattr(flash, "deterministic", nullcontext)
    assert differ(100) > 0


def test_the_gradient_of_embeddings_has_the_same_bits_each_time() -> None:
    """Known bad: torch's look-up. Few words, so that each comes often."""
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 97, (8, 767), generator=chance).cuda()
    weight = torch.randn(97, 32, generator=chance).cuda().requires_grad_()
    back = torch.randn(8, 767, 32, generator=chance).cuda()

    def differ(look_up: Callable[[Tensor, Tensor], Tensor]) -> int:
        first, *others = (torch.autograd.grad(look_up(ids, weight), weight, back)[0] for _ in range(100))
        return sum(not torch.equal(first, other) for other in others)

    assert differ(embedded) == 0
    assert differ(functional.embedding) > 0
    doubled = weight.detach().double().cpu().requires_grad_()
    (exact,) = torch.autograd.grad(functional.embedding(ids.cpu(), doubled), doubled, back.double().cpu())
    (found,) = torch.autograd.grad(embedded(ids, weight), weight, back)
    assert (found.cpu() - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_meta_training_is_resumed_to_the_bit_on_long_rows(tmp_path: Path) -> None:
    """Compiled, with rows longer than several blocks of keys, and another number of tokens at each step."""
    rows = {
        f"task-{task}": [
            Item(example(100 * task + n, prompt=450 + 9 * n, response=40 + n), f"{task}-{n}", "domain", f"{task}-{n}")
            for n in range(8)
        ]
        for task in range(4)
    }
    body = LlamaBody(llama(torch.bfloat16, layers=2, head_width=64).cuda(), LoraShape(4, 8), varlen, compiled=True)
    head = OutputHead(body, 4, 8, on_hidden=True)
    made = new_weights(body, head, 2, 0.1, seed=0)
    weights = MetaWeights(*({n: w.cuda() for n, w in part.items()} for part in (made.slow, made.head, made.rates)))
    schedule = MetaSchedule(steps=6, learning_rate=0.01, rate_lr=0.01, warmup_steps=0, weight_decay=0.01, clip=1.0,
                            look_every=6, patience=0, seed=3)  # fmt: skip
    sampler, held = EpisodeSampler(rows, 3, 3, 3, 0.5, seed=0), fixed_episodes(rows, 2, 3, 3, seed=0)
    inner = Inner(Algorithm.ANIL, 2, 1.0)
    train = partial(meta_train, body, head, weights, sampler, held, inner, replace(schedule, probe=2))
    for _ in range(5):
        assert resumes_exactly(train, 6, tmp_path / "replay")


def test_a_base_killed_in_long_windows_ends_with_the_same_bits(tmp_path: Path) -> None:
    stream = torch.randint(0, VOCABULARY, (60_000,), generator=torch.Generator().manual_seed(0)).int()
    corpus = Corpus(stream[:50_000], stream[50_000:], 1)
    schedule = Schedule(steps=8, batch_windows=8, seq_length=768, learning_rate=0.01, warmup_steps=2, weight_decay=0.1,
                        save_every=2, seed=5)  # fmt: skip
    config = llama(torch.float32, layers=2, head_width=64).config

    def killed(step: Step) -> None:
        if step.step == 5:
            raise KeyboardInterrupt

    ends = []
    for name in ("straight", "again", "killed"):
        model = new_llama(config, 1)
        if name == "killed":
            with pytest.raises(KeyboardInterrupt):
                pretrain(new_llama(config, 1), corpus, schedule, "cuda", tmp_path / name, killed)
        assert pretrain(model, corpus, schedule, "cuda", tmp_path / name).finished
        ends.append([p.detach() for p in model.parameters()])
    assert all(map(torch.equal, ends[0], ends[1])) and all(map(torch.equal, ends[0], ends[2]))
