"""On a card: the compiled body with torch's kernel for packed sequences is the plain one."""

from __future__ import annotations

import pytest
import torch

from cogumi.training.algorithms import Algorithm, Episode, Inner, MetaWeights, meta_loss
from cogumi.training.attention import by_example, varlen
from cogumi.training.body import Keep, LlamaBody
from cogumi.training.head import OutputHead
from cogumi.training.inner import new_rates
from cogumi.training.lora import LoraShape, new_lora
from tests.unit.training.models import episode, llama

pytestmark = pytest.mark.gpu


def gradients(body: LlamaBody, episodes: list[Episode]) -> list[torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    head = OutputHead(body, 4, 8, on_hidden=True)
    fast = head.new(1)
    parts = (new_lora(body.config, body.shape, 0), fast, new_rates(fast, 2, 0.1))
    weights = MetaWeights(*(
        {n: (w + 0.1 * torch.randn(w.shape, generator=chance)).cuda().requires_grad_() for n, w in part.items()}
        for part in parts
    ))  # fmt: skip
    loss, _ = meta_loss(body, head, weights, episodes, Inner(Algorithm.ANIL, 2, 1.0))
    return [loss.detach(), *torch.autograd.grad(loss, [*weights.slow.values(), *weights.head.values()])]


@pytest.mark.parametrize("keep", list(Keep))
def test_compiled_and_packed_is_eager_and_example_by_example(keep: Keep) -> None:
    model = llama(torch.bfloat16, layers=2, head_width=64).cuda()
    fast = LlamaBody(model, LoraShape(4, 8), varlen, compiled=True, keep=keep)
    slow = LlamaBody(model, LoraShape(4, 8), by_example)
    exact = LlamaBody(llama(torch.float32, layers=2, head_width=64).cuda(), LoraShape(4, 8), by_example)
    for number in range(3):  # lengths differ
        episodes = [episode(4 * number + n, examples=3 + number) for n in range(3)]
        found, expected, truth = (gradients(body, episodes) for body in (fast, slow, exact))
        for one, other, true in zip(found, expected, truth, strict=True):
            scale = true.norm() + 1e-3
            assert (one - true).norm() / scale <= 2 * (other - true).norm() / scale + 0.02
