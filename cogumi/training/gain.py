"""Adaptation gain: by how much a few steps on a support set lower the loss of the query set.

    losses_E2 = query_losses(body, head, weights, episodes, inner)      # before and after
    gain = mean_gain(losses_E2)                                         # with its 95% interval

It is what meta-training is for: a lower training loss with no gain is memorisation (Yin et al. 2020). Measured on fixed
episodes, so that two models are compared pair by pair. Shape suffix: E episodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cogumi.training.algorithms import Episode, Inner, MetaWeights, features
from cogumi.training.body import LlamaBody
from cogumi.training.head import Head
from cogumi.training.inner import adapt_head

_Z = 1.959964  # 95%


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `n` pairs with its 95% interval, by the normal approximation of the mean."""

    mean: float
    low: float
    high: float
    n: int


def query_losses(
    body: LlamaBody,
    head: Head,
    weights: MetaWeights,
    episodes: Sequence[Episode],
    inner: Inner,
    token_budget: int | None = None,
) -> Tensor:
    """Mean nats a response token of each episode's query set, before and after adaptation (fp64, E2, on the CPU).

    Dropout is off. Episodes go through the body in packs of at most `token_budget` tokens (one episode at least).
    """
    found = []
    with body.evaluating():
        slow = body.prepared(weights.slow)
        for group in by_budget(episodes, token_budget):
            support = features(body, head, slow, [episode.support for episode in group], inner)
            query = features(body, head, slow, [episode.query for episode in group], inner)
            for one, other in zip(support, query, strict=True):
                fast, _ = adapt_head(head, one, weights.head, weights.rates, inner.steps, inner.clip, False)
                found.append(torch.stack([head.loss(other, weights.head), head.loss(other, fast)]))
    return torch.stack(found).double().cpu()


def mean_gain(losses_E2: Tensor) -> Mean:
    """The gain over episodes, in nats a token; more is better."""
    return mean_of(losses_E2[:, 0] - losses_E2[:, 1])


def mean_of(values_E: Tensor) -> Mean:
    """Mean and interval of paired values; infinitely wide for fewer than two."""
    n, mean = len(values_E), float(values_E.mean())
    half = _Z * float(values_E.std()) / math.sqrt(n) if n > 1 else math.inf
    return Mean(mean, mean - half, mean + half, n)


def by_budget(episodes: Sequence[Episode], token_budget: int | None) -> Iterator[list[Episode]]:
    """The episodes in their order, in groups of at most so many tokens; a longer one is a group by itself."""
    group: list[Episode] = []
    tokens = 0
    for episode in episodes:
        if group and token_budget is not None and tokens + episode.tokens > token_budget:
            yield group
            group, tokens = [], 0
        group.append(episode)
        tokens += episode.tokens
    if group:
        yield group
