"""Meta-learning algorithms over one code path: which weights are fast, how many steps, which order.

    sft            no inner loop: the loss of all examples
    reptile        all LoRA weights are fast; the meta-gradient is what k steps moved (Nichol et al. 2018, equation 2)
    fomaml, maml   all LoRA weights are fast (Finn et al. 2017), without and with the second order
    anil1, anil    the head is fast, the body learns from the query loss (Raghu et al. 2020), first order and exact
    anil_cross     each half of a task is support once and query once; one forward of everything

The body is the same for all tasks of a batch, so all their support sets are one packed forward, and all query sets one
packed forward and backward; an inner step touches response rows alone. That is exactly ANIL, at a fraction of its cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from cogumi.lm.chat import Encoded
from cogumi.training.body import LlamaBody
from cogumi.training.head import Cached, Head
from cogumi.training.inner import Rates, adapt_head, new_rates
from cogumi.training.lora import Prepared, Weights, layer_of, new_lora
from cogumi.training.packing import pack


class Algorithm(StrEnum):
    """By the names that recipes use."""

    SFT = "sft"
    REPTILE = "reptile"
    FOMAML = "fomaml"
    MAML = "maml"
    ANIL1 = "anil1"
    ANIL = "anil"
    ANIL_CROSS = "anil_cross"

    @property
    def second_order(self) -> bool:
        return self in (Algorithm.MAML, Algorithm.ANIL, Algorithm.ANIL_CROSS)

    @property
    def all_fast(self) -> bool:
        """Whether every LoRA weight is fast, so that the head begins at layer 0."""
        return self in (Algorithm.REPTILE, Algorithm.FOMAML, Algorithm.MAML)


@dataclass(frozen=True, slots=True)
class Episode:
    """A task's examples of one step: what the head adapts on, and what it is then judged by."""

    task: str
    support: Sequence[Encoded]
    query: Sequence[Encoded]

    @property
    def tokens(self) -> int:
        return sum(len(example.ids) for example in (*self.support, *self.query))


@dataclass(frozen=True, slots=True)
class MetaWeights:
    """What training changes: `slow` LoRA weights below the head's cut, the head's initial weights, its step sizes."""

    slow: Weights
    head: Weights
    rates: Rates


def new_weights(body: LlamaBody, head: Head, steps: int, rate: float, seed: int) -> MetaWeights:
    """Fresh fp32 weights that change nothing yet, on the body's device; every step size is `rate`."""
    lora = new_lora(body.config, body.shape, seed)
    slow = {name: weight for name, weight in lora.items() if layer_of(name) < head.cut}
    fast = head.new(seed + 1)
    parts = (slow, fast, new_rates(fast, steps, rate))
    return MetaWeights(*({name: weight.to(body.device) for name, weight in part.items()} for part in parts))


@dataclass(frozen=True, slots=True)
class Inner:
    """The inner loop: `steps` of gradient descent, the norm a step's gradient is clipped at, tokens a pack is padded
    to a multiple of.
    """

    algorithm: Algorithm
    steps: int
    clip: float | None = None
    bucket: int = 1


@dataclass(frozen=True, slots=True)
class TaskLoss:
    """Nats a response token of one task, scalars on the body's device without a graph: the support before each inner
    step, and the query after the last (for Reptile, which has none, the support before the last step).
    """

    task: str
    support: list[Tensor]
    query: Tensor


def meta_loss(
    body: LlamaBody, head: Head, weights: MetaWeights, episodes: Sequence[Episode], inner: Inner
) -> tuple[Tensor, list[TaskLoss]]:
    """The mean over tasks of the query loss after adaptation, differentiable in the weights; and each task's losses."""
    if inner.algorithm is Algorithm.SFT or not inner.steps:
        return _sft(body, head, weights, episodes, inner)
    if inner.algorithm is Algorithm.REPTILE:
        return _reptile(body, head, weights, episodes, inner)
    second, slow = inner.algorithm.second_order, body.prepared(weights.slow)
    query = features(body, head, slow, [episode.query for episode in episodes], inner)
    with torch.set_grad_enabled(second and torch.is_grad_enabled()):
        support = features(body, head, slow, [episode.support for episode in episodes], inner)
    losses, told = [], []
    for episode, one, other in zip(episodes, support, query, strict=True):
        sides = [(one, other), (other, one)] if inner.algorithm is Algorithm.ANIL_CROSS else [(one, other)]
        for adapted_on, judged_by in sides:
            fast, before = adapt_head(head, adapted_on, weights.head, weights.rates, inner.steps, inner.clip, second)
            losses.append(head.loss(judged_by, fast))
            told.append(TaskLoss(episode.task, before, losses[-1].detach()))
    return torch.stack(losses).mean(), told


def _sft(
    body: LlamaBody, head: Head, weights: MetaWeights, episodes: Sequence[Episode], inner: Inner
) -> tuple[Tensor, list[TaskLoss]]:
    slow = body.prepared(weights.slow)
    query = features(body, head, slow, [episode.query for episode in episodes], inner)
    losses = [head.loss(cached, weights.head) for cached in query]
    told = [TaskLoss(e.task, [], loss.detach()) for e, loss in zip(episodes, losses, strict=True)]
    return torch.stack(losses).mean(), told


def _reptile(
    body: LlamaBody, head: Head, weights: MetaWeights, episodes: Sequence[Episode], inner: Inner
) -> tuple[Tensor, list[TaskLoss]]:
    """A scalar whose gradient in the initial weights is minus what the inner loop moved them by."""
    moved, told, slow = [], [], body.prepared(weights.slow)
    everything = features(body, head, slow, [[*e.support, *e.query] for e in episodes], inner)
    for episode, cached in zip(episodes, everything, strict=True):
        fast, before = adapt_head(head, cached, weights.head, weights.rates, inner.steps, inner.clip, False)
        parts = [(weight * (weight - fast[name]).detach()).sum() for name, weight in weights.head.items()]
        moved.append(torch.stack(parts).sum())
        told.append(TaskLoss(episode.task, before, before[-1]))
    return torch.stack(moved).mean(), told


def features(
    body: LlamaBody, head: Head, slow: Prepared, sides: Sequence[Sequence[Encoded]], inner: Inner
) -> list[Cached]:
    """Each task's examples as the head reads them, from one packed forward of all."""
    packed = pack([example for side in sides for example in side], body.device, inner.bucket)
    hidden_ND = body.run(packed, slow, after=head.cut)
    found, at = [], 0
    for side in sides:
        found.append(head.cache(hidden_ND, packed, at, at + len(side)))
        at += len(side)
    return found
