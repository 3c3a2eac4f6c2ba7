"""Compare: what meta-training is worth, on held-out episodes, beside what is simpler.

    table = compare(body, head, {"sft": sft, "meta": meta}, episodes, inner)
    table.gain("meta", Way.ADAPTED)                                   # against the same model as it is
    table.wins(("meta", Way.ADAPTED), ("sft", Way.IN_CONTEXT))        # positive where the first is better

Of each model: the query loss as it is, after adaptation on the support set, with the support set in the prompt (k-shot
in context), and after adaptation on another task's support set. The last is the control: where it does as well, the
support set said nothing about the task, and the table concludes nothing. All on the same episodes, so that
differences are paired; intervals are by task, since episodes of one task are alike. Of one task alone there is neither
a control nor an interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from cogumi.lm.chat import Encoded
from cogumi.metrics.formatting import Sample
from cogumi.phases import report_phase, within
from cogumi.training.algorithms import Episode, Inner, MetaWeights, features
from cogumi.training.body import LlamaBody
from cogumi.training.gain import Mean, by_budget, episode_features, mean_of
from cogumi.training.head import Cached, Head
from cogumi.training.inner import adapt_head
from cogumi.training.lora import Weights


class Way(StrEnum):
    """How a model is used on an episode."""

    AS_IT_IS = "as it is"
    ADAPTED = "adapted"
    IN_CONTEXT = "in context"
    CONTROL = "adapted on another task"


Used = tuple[str, Way]
"""A model by its name, and how it is used."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Nats a response token of every episode's query set (fp64, E), by model and way; and the episodes' tasks."""

    losses: dict[Used, Tensor]
    tasks: list[str]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.losses))

    @property
    def sample(self) -> Sample:
        """The tasks that its intervals are over."""
        return Sample(len(set(self.tasks)), "tasks")

    def loss(self, used: Used) -> Mean:
        return mean_of(self.losses[used], self.tasks)

    def gain(self, model: str, way: Way) -> Mean:
        """By how much the way is better than the model as it is."""
        return self.wins((model, way), (model, Way.AS_IT_IS))

    def wins(self, used: Used, over: Used) -> Mean:
        """By how much the first loses less, episode by episode."""
        return mean_of(self.losses[over] - self.losses[used], self.tasks)

    def concludes(self, model: str) -> bool:
        """Whether another task's support set gains less, beyond chance: only then is the gain one of adaptation."""
        if (model, Way.CONTROL) not in self.losses:
            return False
        return self.wins((model, Way.ADAPTED), (model, Way.CONTROL)).low > 0

    def rows(self) -> list[dict[str, Any]]:
        """For tables: each model and way with its loss and its gain over the model as it is."""
        found = []
        for model, way in self.losses:
            loss, gain = self.loss((model, way)), self.gain(model, way)
            found.append(
                {
                    "model": model,
                    "way": str(way),
                    "loss": loss.mean,
                    "loss_ci95": [loss.low, loss.high],
                    "gain": gain.mean,
                    "gain_ci95": [gain.low, gain.high],
                }
            )
        return found


def compare(
    body: LlamaBody,
    head: Head,
    models: Mapping[str, MetaWeights],
    episodes: Sequence[Episode],
    inner: Inner,
    token_budget: int | None = None,
    in_context: Iterable[str] | None = None,
    control: Iterable[str] | None = None,
) -> Comparison:
    """Every model by name on the same episodes; each adapts by the `inner` loop from its own head and rates.

    `in_context` names the models that are also shown the support set in the prompt, which costs most of all, `control`
    those that also adapt on another task, where there is one; default: each.
    """
    shown, controlled = (set(models if names is None else names) for names in (in_context, control))
    if len({episode.task for episode in episodes}) < 2:
        controlled = set()
    losses: dict[Used, Tensor] = {}
    for name, weights in models.items():
        ways = (Way.AS_IT_IS, Way.ADAPTED, *((Way.CONTROL,) if name in controlled else ()))
        with within(name):
            by_way = _adapted(body, head, weights, episodes, inner, token_budget, ways)
            losses |= {(name, way): found_E for way, found_E in zip(ways, by_way, strict=True)}
            if name in shown:
                report_phase(Way.IN_CONTEXT)
                losses[name, Way.IN_CONTEXT] = in_context_losses(body, head, weights, episodes, inner, token_budget)
    return Comparison(losses, [episode.task for episode in episodes])


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


def _adapted(
    body: LlamaBody,
    head: Head,
    weights: MetaWeights,
    episodes: Sequence[Episode],
    inner: Inner,
    token_budget: int | None,
    ways: Sequence[Way],
) -> list[Tensor]:
    """Losses by way (each E): as it is, adapted, adapted on another task's support set. The body runs once for all."""
    found: list[Tensor] = []
    with body.evaluating():
        slow = body.prepared(weights.slow)
        support, query = episode_features(body, head, slow, episodes, inner, token_budget)

        def fast(way: Way, own: Cached, other: int) -> Weights:
            if way is Way.AS_IT_IS:
                return weights.head
            shown = own if way is Way.ADAPTED else support[other]
            return adapt_head(head, shown, weights.head, weights.rates, inner.steps, inner.clip, False)[0]

        for judged, own, other in zip(query, support, _partners(episodes), strict=True):
            report_phase("adaptation", len(found), len(episodes), "episodes")
            found.append(torch.stack([head.loss(judged, fast(way, own, other)) for way in ways]))
    return list(torch.stack(found).double().cpu().unbind(-1))


def _partners(episodes: Sequence[Episode]) -> list[int]:
    """For each episode the next one of another task; itself where all are of one task, which has no control."""
    count = len(episodes)
    found = []
    for number, episode in enumerate(episodes):
        later = ((number + by) % count for by in range(1, count))
        found.append(next((at for at in later if episodes[at].task != episode.task), number))
    return found
