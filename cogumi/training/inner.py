"""The inner loop: a few steps of gradient descent on a head's weights, as a pure function.

    fast, losses = adapt_head(head, cached, weights, rates, steps=3, clip=1.0, second_order=True)

Step sizes are per tensor and step, fixed or learned (Meta-SGD, Li et al. 2017; per step, Antoniou et al. 2019). Without
the second order the gradient is a constant, as in first-order MAML (Finn et al. 2017, section 5.2); the meta-gradient
still reaches the weights and the step sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cogumi.training.head import Cached, Head
from cogumi.training.lora import Weights

Rates = dict[str, Tensor]
"""Step sizes by weight, one for each step; fp32."""


def new_rates(weights: Weights, steps: int, rate: float) -> Rates:
    """All of them equal."""
    return {name: torch.full((max(1, steps),), rate, dtype=weight.dtype) for name, weight in weights.items()}


def adapt_head(
    head: Head, cached: Cached, weights: Weights, rates: Rates, steps: int, clip: float | None, second_order: bool
) -> tuple[Weights, list[Tensor]]:
    """The weights after `steps` steps on a support set, and the loss before each of them.

    Args:
        clip: largest norm of a step's gradient over all weights; None for no limit.
    """
    fast, losses = weights, []
    cached = head.before_steps(cached, second_order)
    for step in range(steps):
        loss, gradient = head.gradient(cached, fast, second_order)
        losses.append(loss.detach())
        if clip is not None:
            gradient = _clipped(gradient, clip)
        fast = {name: weight - rates[name][step] * gradient[name] for name, weight in fast.items()}
    return fast, losses


def _clipped(gradient: Weights, most: float) -> Weights:
    # in the order of names: weights from a file come in another one, and a sum in another order has other bits
    norm = torch.stack([gradient[name].pow(2).sum() for name in sorted(gradient)]).sum().sqrt()
    factor = most / norm.clamp(min=most)
    return {name: part * factor for name, part in gradient.items()}
