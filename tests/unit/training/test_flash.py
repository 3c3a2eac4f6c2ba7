"""What of flash attention can be held without a card: its shapes, the switch that makes its gradient exact, and how it
goes through compilation and checkpoints, with its formulas (Dao 2023, algorithms 1 and 2) in the place of the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from transformers import LlamaForCausalLM

from cogumi.training.algorithms import Algorithm, Inner, MetaWeights, meta_loss
from cogumi.training.attention import by_example, varlen
from cogumi.training.body import Keep, LlamaBody
from cogumi.training.fitting import fixed_attention
from cogumi.training.flash import packed_attention
from cogumi.training.head import OutputHead
from cogumi.training.inner import new_rates
from cogumi.training.lora import LoraShape, new_lora
from cogumi.training.pretrain import window_loss
from tests.unit.training.models import VOCABULARY, episode, llama, stirred, switches


def test_shapes_and_types_are_told_to_the_compiler() -> None:
    with FakeTensorMode():
        queries, keys, values = (
            torch.randn(10, heads, 64, dtype=torch.bfloat16, requires_grad=True) for heads in (4, 2, 2)
        )
        attended, sums = packed_attention(queries, keys, values, torch.tensor([0, 4, 10], dtype=torch.int32), 6)
        attended.sum().backward()
        assert (attended.shape, attended.dtype) == (queries.shape, torch.bfloat16)
        assert (sums.shape, sums.dtype) == ((4, 10), torch.float32)
        assert [x.grad.shape for x in (queries, keys, values)] == [x.shape for x in (queries, keys, values)]  # type: ignore[union-attr]


class Kernels:
    """The two kernels as formulas on the CPU, and how often each was called, with which switches."""

    def __init__(self) -> None:
        self.forwards = 0
        self.backwards: list[tuple[int, bool]] = []

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, _: Tensor, longest: int, *rest: object, **more: object
    ) -> tuple[Tensor, ...]:
        self.forwards += 1
        none = q.new_empty(0)
        return by_example(q, k, v, bounds, longest), q.new_zeros(q.shape[1::-1], dtype=torch.float32), none, none, none

    def backward(
        self,
        g: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        sums: Tensor,
        bounds: Tensor,
        *rest: object,
        **more: object,
    ) -> tuple[Tensor, ...]:
        self.backwards.append(switches())
        repeat, scale, found = q.shape[1] // k.shape[1], 1 / math.sqrt(q.shape[2]), []
        for start, end in pairwise(bounds.tolist()):
            q_HNK, g_HNK = (x[start:end].transpose(0, 1) for x in (q, g))
            k_HNK, v_HNK = (x[start:end].transpose(0, 1).repeat_interleave(repeat, 0) for x in (k, v))
            later = torch.ones(end - start, end - start, dtype=torch.bool).triu(1)
            p_HNN = (q_HNK @ k_HNK.transpose(1, 2) * scale).masked_fill(later, -math.inf).softmax(-1)
            dp_HNN = g_HNK @ v_HNK.transpose(1, 2)
            ds_HNN = p_HNN * (dp_HNN - (dp_HNN * p_HNN).sum(-1, keepdim=True)) * scale
            dk_GNK, dv_GNK = (
                x.unflatten(0, (-1, repeat)).sum(1)
                for x in (ds_HNN.transpose(1, 2) @ q_HNK, p_HNN.transpose(1, 2) @ g_HNK)
            )
            found.append([x.transpose(0, 1) for x in (ds_HNN @ k_HNK, dk_GNK, dv_GNK)])
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


@pytest.fixture
def kernels() -> Iterator[Kernels]:
    """Registered with torch's dispatcher, as a device's own would be."""
    found = Kernels()
    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", found.forward, "CPU")
    library.impl("_flash_attention_backward", found.backward, "CPU")
    torch._dynamo.reset()
    yield found
    torch._dynamo.reset()
    library._destroy()


@pytest.mark.parametrize("keep", list(Keep))
def test_compiled_and_checkpointed_it_is_plain_attention(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, keep: Keep
) -> None:
    """Two graphs for all lengths, one for the first layer, whose input needs no gradient. Attention is computed again
    only where inputs alone are kept.
    """
    model = llama(torch.float32, layers=2)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    fast = LlamaBody(model, LoraShape(4, 8), varlen, compiled=True, keep=keep)
    slow = LlamaBody(model, LoraShape(4, 8), by_example)

    def gradients(body: LlamaBody, number: int) -> list[Tensor]:
        head = OutputHead(body, 4, 8, on_hidden=True)
        parts = (new_lora(body.config, body.shape, 0), head.new(1), new_rates(head.new(1), 2, 0.1))
        made = MetaWeights(*({n: w.float().detach().requires_grad_() for n, w in stirred(p, 5).items()} for p in parts))
        episodes = [episode(4 * number + n, examples=2 + number) for n in range(3)]
        loss, _ = meta_loss(body, head, made, episodes, Inner(Algorithm.ANIL, 2, 1.0))
        return [loss.detach(), *torch.autograd.grad(loss, [*made.slow.values(), *made.head.values()])]

    graphs = torch._dynamo.utils.counters["stats"]
    graphs.clear()
    for number in range(3):
        kernels.forwards, kernels.backwards = 0, []
        for found, expected in zip(gradients(fast, number), gradients(slow, number), strict=True):
            assert (found - expected).abs().max() <= 1e-4 * (1e-3 + expected.abs().max())
        passes = 2 * len(model.model.layers)  # support and query
        assert kernels.forwards == (2 * passes if keep is Keep.INPUTS else passes)
        assert kernels.backwards == [(2, False)] * passes, "in its deterministic form"
    assert switches() == (0, True) and graphs["unique_graphs"] == 2


def test_on_a_card_a_base_trains_through_the_kernels(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's own attention serves before and after, and gives the same loss and gradient."""
    model = llama(torch.float32, layers=2)
    windows = torch.randint(0, VOCABULARY, (3, 13), generator=torch.Generator().manual_seed(0))

    def loss_and_gradients() -> list[Tensor]:
        loss = window_loss(model, windows, "cpu")
        return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]

    before = loss_and_gradients()
    monkeypatch.setattr(LlamaForCausalLM, "device", torch.device("cuda:0"))
    with fixed_attention(model):
        found = loss_and_gradients()
    assert kernels.forwards == 2 and kernels.backwards == [(2, False)] * 2
    assert all(map(torch.equal, before, loss_and_gradients())) and kernels.forwards == 2
    for one, other in zip(found, before, strict=True):
        assert (one - other).abs().max() <= 1e-5 * (1 + other.abs().max())
