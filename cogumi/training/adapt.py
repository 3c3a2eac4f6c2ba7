"""adapt: a few examples of a task, and the model that answers as they do, in the time of one forward.

    with adapt(model, examples, steps=3) as adapted:        # a LlamaForCausalLM
        adapted.generate(...)
    adaptation.save(Path("my-task"))                        # a folder that PEFT reads

It is the inner loop of meta-training on a task nobody has trained on (Finn et al. 2017, algorithm 1). Whether the
examples have anything to say is measured first, by leaving each out in turn: an adaptation that does not lower the loss
of what it has not seen is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from cogumi.errors import InputError, RunError
from cogumi.lm.chat import Encoded
from cogumi.training.adaptable import Adaptable
from cogumi.training.adapter import save_adapter
from cogumi.training.algorithms import Episode, MetaWeights
from cogumi.training.applied import Change, applied, lora_changes
from cogumi.training.gain import Mean, episode_features, mean_gain
from cogumi.training.head import Cached, OutputHead
from cogumi.training.inner import Rates, adapt_head
from cogumi.training.lora import Weights


class Adaptation:
    """Fast weights, and the model with them for as long as a block lasts.

    Attributes:
        fast: the head's weights after adaptation, by name, fp32.
        gain: by how much each example's loss falls when the others adapt, nats a response token; None if not asked for.
        seconds: what all of it took.
    """

    def __init__(self, of: Adaptable, fast: Weights, gain: Mean | None, seconds: float) -> None:
        self.of, self.fast, self.gain, self.seconds = of, fast, gain, seconds
        self._undo = ExitStack()

    def __enter__(self) -> LlamaForCausalLM:
        """The model with adapter and adaptation; no weight of it is written. Raises RunError adaptation-in-use."""
        return self._undo.enter_context(applied(self.of.model, self._changes()))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._undo.close()

    def save(self, folder: Path) -> None:
        """Write it as save_adapter does: PEFT reads it, and it can be adapted further."""
        weights = MetaWeights(self.of.weights.slow, self.fast, self.of.weights.rates)
        save_adapter(folder, self.of.body, self.of.head, weights, self.of.inner, self.of.base, self.of.stored_in)

    def _changes(self) -> list[Change]:
        of = self.of
        if not isinstance(of.head, OutputHead):
            return lora_changes({**of.weights.slow, **self.fast}, of.body.shape, of.model)
        a, b = of.head.low(self.fast)
        changes = lora_changes(of.weights.slow, of.body.shape, of.model)
        return [*changes, Change("lm_head", a, b * of.head.scale)]


def adapt(of: Adaptable, examples: Sequence[Encoded], steps: int | None = None, check: bool = True) -> Adaptation:
    """Adapt to examples of one task; neither model nor adapter are changed.

    Args:
        steps: of gradient descent; as many as in training where None. Later ones take the last learned step size.
        check: whether to refuse where it does not help examples that it has not seen.

    Raises InputError adaptation-bad-input, example-without-loss; RunError adaptation-no-gain.
    """
    began = time.monotonic()
    count = of.inner.steps if steps is None else steps
    if count < 1:
        raise InputError("adaptation-bad-input", f"{count} steps")
    different = list({tuple(example.ids): example for example in examples}.values())
    if len(different) < (2 if check else 1):
        raise InputError("adaptation-bad-input", f"{len(different)} examples that differ: one is left out at a time")
    weights = replace(of.weights, rates=lasting(of.weights.rates, count))
    fast, losses = _adapted(of, weights, examples, leave_one_out(different) if check else [], count)
    gain = mean_gain(losses) if check else None
    if gain is not None and not gain.mean > 0:
        found = f"{gain.mean:+.4f} nats per token" if math.isfinite(gain.mean) else "the loss is no longer finite"
        raise RunError("adaptation-no-gain", f"{found} over {gain.n} examples")
    return Adaptation(of, fast, gain, time.monotonic() - began)


def as_trained(of: Adaptable) -> Adaptation:
    """The adapter itself, before it has seen any example."""
    return Adaptation(of, of.weights.head, None, 0.0)


def _adapted(
    of: Adaptable, weights: MetaWeights, examples: Sequence[Encoded], tried: Sequence[Episode], steps: int
) -> tuple[Weights, Tensor]:
    """Fast weights of all examples, and the losses of the episodes to be tried, before and after (E2). Every example
    goes through the body once.
    """
    episodes = [*tried, Episode("all of them", examples, examples[:1])]
    losses = []
    with of.body.evaluating():
        slow = of.body.prepared(weights.slow)
        support, query = episode_features(of.body, of.head, slow, episodes, of.inner)

        def fast(shown: Cached) -> Weights:
            return adapt_head(of.head, shown, weights.head, weights.rates, steps, of.inner.clip, second_order=False)[0]

        for shown, left_out in zip(support[:-1], query[:-1], strict=True):
            losses.append(torch.stack([of.head.loss(left_out, w) for w in (weights.head, fast(shown))]))
        found = {name: weight.detach() for name, weight in fast(support[-1]).items()}
    return found, torch.stack(losses).double().cpu() if losses else torch.empty(0, 2)


def leave_one_out(examples: Sequence[Encoded]) -> list[Episode]:
    """Each example once as what is judged, all others as the support set. Equal ones would tell of each other."""
    return [
        Episode(f"without {at}", [*examples[:at], *examples[at + 1 :]], [example])
        for at, example in enumerate(examples)
    ]


def lasting(rates: Rates, steps: int) -> Rates:
    """Step sizes for so many steps; beyond the trained ones the last of each goes on."""

    def lengthened(rate_S: Tensor) -> Tensor:
        return rate_S[[min(step, len(rate_S) - 1) for step in range(steps)]]

    return {name: lengthened(rate_S) for name, rate_S in rates.items()}
