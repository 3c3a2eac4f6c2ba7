"""Compare: what meta-training is worth, on held-out episodes, beside what is simpler.

    table = compare(body, head, {"sft": sft, "meta": meta}, episodes, inner)

Of each model: the query loss as it is, with the support set in the prompt (k-shot in context), after adaptation on it,
and after adaptation on another task's support set. The last is the control: where it does as well, the support set said
nothing about the task, and the table concludes nothing. All on the same episodes, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Episode, Inner, MetaWeights, features
from cogumi.training.body import LlamaBody
from cogumi.training.gain import Mean, by_budget, mean_of, query_losses
from cogumi.training.head import Head


@dataclass(frozen=True, slots=True)
class Row:
    """One model. Gains are in nats a response token against its own loss as it is; more is better."""

    loss: Mean
    adapted: Mean
    in_context: Mean
    control: Mean

    @property
    def concludes(self) -> bool:
        """Whether another task's support set gains less, beyond chance: only then is the gain one of adaptation."""
        return self.control.high < self.adapted.low


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows, and the gain of each model over every other as (better, worse): positive where the first wins."""

    rows: dict[str, Row]
    wins: dict[tuple[str, str], Mean]


def compare(
    body: LlamaBody,
    head: Head,
    models: Mapping[str, MetaWeights],
    episodes: Sequence[Episode],
    inner: Inner,
    token_budget: int | None = None,
) -> Comparison:
    """Every model by name on the same episodes; each adapts by the `inner` loop from its own head and rates.

    `wins` compares losses after adaptation, which is what one deploys; the loss before is in the rows.
    """
    rows, after = {}, {}
    for name, weights in models.items():
        losses_E2 = query_losses(body, head, weights, episodes, inner, token_budget)
        swapped_E2 = query_losses(body, head, weights, _swapped(episodes), inner, token_budget)
        context_E = in_context_losses(body, head, weights, episodes, inner, token_budget)
        before_E, after[name] = losses_E2.unbind(-1)
        rows[name] = Row(
            mean_of(before_E), mean_of(before_E - after[name]), mean_of(before_E - context_E),
            mean_of(before_E - swapped_E2[:, 1]),
        )  # fmt: skip
    pairs = [(one, other) for one in models for other in models if one != other]
    return Comparison(rows, {(one, other): mean_of(after[other] - after[one]) for one, other in pairs})


def in_context_losses(
    body: LlamaBody,
    head: Head,
    weights: MetaWeights,
    episodes: Sequence[Episode],
    inner: Inner,
    token_budget: int | None = None,
) -> Tensor:
    """Nats a response token of each episode's query set where its support set stands in the prompt (fp64, E)."""
    shown = [Episode(episode.task, [], with_support(episode)) for episode in episodes]
    with body.evaluating():
        slow = body.prepared(weights.slow)
        found = [
            head.loss(cached, weights.head)
            for group in by_budget(shown, token_budget)
            for cached in features(body, head, slow, [episode.query for episode in group], inner)
        ]
    return torch.stack(found).double().cpu()


def with_support(episode: Episode) -> list[Encoded]:
    """Each query example as the last turn of a conversation whose earlier turns are the support set. The loss is on the
    query's response alone; only the first turn begins with <|begin_of_text|>.
    """
    before: list[int] = []
    for example in episode.support:
        before += example.ids[1:] if before else example.ids
    if not before:
        return list(episode.query)
    return [Encoded([*before, *query.ids[1:]], [0] * len(before) + query.mask[1:]) for query in episode.query]


def _swapped(episodes: Sequence[Episode]) -> list[Episode]:
    """Each episode with the support set of the next one of another task."""
    found = []
    for number, episode in enumerate(episodes):
        others = (episodes[(number + by) % len(episodes)] for by in range(1, len(episodes)))
        other = next((other for other in others if other.task != episode.task), None)
        found.append(episode if other is None else replace(episode, support=other.support))
    return found
