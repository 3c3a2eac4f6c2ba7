"""Adaptation gain: by how much a few steps on a support set lower the loss of the query set.

    losses_E2 = query_losses(body, head, weights, episodes, inner)      # before and after
    gain = mean_gain(losses_E2)                                         # with its 95% interval

It is what meta-training is for: a lower training loss with no gain is memorisation (Yin et al. 2020). Measured on fixed
episodes, so that two models are compared pair by pair. Shape suffix: E episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from cogumi.lm.chat import Encoded
from cogumi.phases import report_phase
from cogumi.training.algorithms import Episode, Inner, MetaWeights, features
from cogumi.training.body import LlamaBody
from cogumi.training.head import Cached, Head
from cogumi.training.inner import adapt_head
from cogumi.training.lora import Prepared
from cogumi.training.packing import pack

_Z = 1.959964  # 95%
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `n` pairs with its 95% interval; `groups` are the independent ones among them."""

    mean: float
    low: float
    high: float
    n: int
    groups: int


def query_losses(
    body: LlamaBody,
    head: Head,
    weights: MetaWeights,
    episodes: Sequence[Episode],
    inner: Inner,
    token_budget: int | None = None,
) -> Tensor:
    """Mean nats a response token of each episode's query set, before and after adaptation (fp64, E2, on the CPU).

    Dropout is off. Rows go through the body in packs of at most `token_budget` tokens (one row at least). A team shares
    the episodes out; each of it gets all losses.
    """
    found = [torch.empty(0, 2, dtype=torch.float64)]
    with body.evaluating():
        mine = body.team.share(episodes) or list(episodes[:1])  # nobody is left out where all must run it as often
        support, query = episode_features(body, head, body.prepared(weights.slow), mine, inner, token_budget)
        for number, (one, other) in enumerate(zip(support, query, strict=True)):
            report_phase("evaluation", number, len(mine), "episodes")
            fast, _ = adapt_head(head, one, weights.head, weights.rates, inner.steps, inner.clip, False)
            found.append(torch.stack([head.loss(other, weights.head), head.loss(other, fast)])[None].double().cpu())
    return body.team.joined(torch.cat(found)[: len(body.team.share(episodes))], len(episodes))


def episode_features(
    body: LlamaBody,
    head: Head,
    slow: Prepared,
    episodes: Sequence[Episode],
    inner: Inner,
    token_budget: int | None = None,
) -> tuple[list[Cached], list[Cached]]:
    """Support and query sets as the head reads them. Each row goes through the body once, however many episodes it is
    in: rows of a pack do not see each other.
    """
    rows = list({id(row): row for episode in episodes for row in (*episode.support, *episode.query)}.values())
    read: dict[int, Tensor] = {}
    report_phase("rows of the episodes", 0, len(rows), "rows")
    for group, counts in in_step(body, _by_tokens(rows, token_budget)):
        cached = features(body, head, slow, [[row] for row in group], inner)
        if counts:
            read |= {id(row): one.x for row, one in zip(group, cached, strict=True)}
        report_phase("rows of the episodes", len(read), len(rows), "rows")

    def gathered(side: Sequence[Encoded]) -> Cached:
        return Cached(torch.cat([read[id(row)] for row in side]), pack(side, body.device))

    return [gathered(e.support) for e in episodes], [gathered(e.query) for e in episodes]


def in_step(body: LlamaBody, groups: Iterable[Thing]) -> Iterator[tuple[Thing, bool]]:
    """Groups for a body, and whether each counts: where it is in parts, all of a team run it as often."""
    return body.team.in_step(groups) if body.in_parts else ((group, True) for group in groups)


def mean_gain(losses_E2: Tensor) -> Mean:
    """The gain over episodes, in nats per token; more is better."""
    return mean_of(losses_E2[:, 0] - losses_E2[:, 1])


def mean_of(values_E: Tensor, tasks: Sequence[str] | None = None) -> Mean:
    """Mean and interval of paired values; infinitely wide for fewer than two.

    Episodes of one task are alike. Where `tasks` names each episode's, the interval is that of a mean over tasks
    (cluster-robust, Liang and Zeger 1986), by Student's t with as many degrees of freedom as tasks less one.
    """
    n, mean = len(values_E), float(values_E.mean())
    of = {name: number for number, name in enumerate(dict.fromkeys(tasks))} if tasks else {}
    groups = len(of) or n
    if groups < 2:
        return Mean(mean, -math.inf, math.inf, n, groups)
    errors_E = values_E - mean
    if tasks is not None:
        place_E = torch.tensor([of[name] for name in tasks])
        errors_E = torch.zeros(groups, dtype=values_E.dtype).index_add_(0, place_E, errors_E)
    deviation = math.sqrt(float(errors_E.pow(2).sum()) * groups / (groups - 1)) / n
    half = (_student(groups - 1) if tasks is not None else _Z) * deviation
    return Mean(mean, mean - half, mean + half, n, groups)


def _student(freedom: int) -> float:
    """The 97.5% point of Student's t: exact for 1 and 2, else by its expansion (Abramowitz and Stegun 26.7.5)."""
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return 0.95 / math.sqrt(2 * 0.975 * 0.025)
    z, v = _Z, freedom
    parts = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return float(z + sum(part / v ** (power + 1) for power, part in enumerate(parts)))


def by_budget(episodes: Sequence[Episode], token_budget: int | None) -> Iterator[list[Episode]]:
    """The episodes in their order, in groups of at most so many tokens; a longer one is a group by itself."""
    return grouped(episodes, lambda episode: episode.tokens, token_budget)


def _by_tokens(rows: Sequence[Encoded], token_budget: int | None) -> Iterator[list[Encoded]]:
    return grouped(rows, lambda row: len(row.ids), token_budget)


def grouped(things: Iterable[Thing], size: Callable[[Thing], int], most: int | None) -> Iterator[list[Thing]]:
    """Things in their order, so much together as `most` allows; a larger one is a group by itself."""
    group: list[Thing] = []
    total = 0
    for thing in things:
        if group and most is not None and total + size(thing) > most:
            yield group
            group, total = [], 0
        group.append(thing)
        total += size(thing)
    if group:
        yield group
