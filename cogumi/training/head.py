"""Heads: the part of a model that the inner loop adapts, by name in a recipe.

    lm_head_lora    logits = h W' + s (h A') B'            A: r x D, B: V x r
    final_hidden    h + s U (D h) before the vocabulary    the same with B = W U: reaches tokens not in the support
    last_layers     the LoRA of the last k layers          all k = L of them: MAML instead of ANIL

A head reads what the body has cached at its cut, and is a pure function of its weights. Raghu et al. 2020 (ANIL).
Shape suffixes: N tokens, R rows, D width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from cogumi.training.body import LlamaBody
from cogumi.training.lora import Weights, layer_of, new_lora
from cogumi.training.loss import rows_gradient, rows_loss
from cogumi.training.packing import Pack


@dataclass(frozen=True, slots=True)
class Cached:
    """One task's examples as the body left them at the head's cut: normed rows RD, or all tokens ND, and their pack.
    `logits_RV` is what the unchanged output matrix makes of the rows, where steps will need it.
    """

    x: Tensor
    pack: Pack
    logits_RV: Tensor | None = None


class Head(Protocol):
    """What the inner loop needs of a head."""

    @property
    def cut(self) -> int:
        """The layer before which features are cached; all layers for heads on the output."""

    def new(self, seed: int) -> Weights:
        """Fresh fp32 weights that change nothing yet."""

    def cache(self, hidden_ND: Tensor, pack: Pack, first: int, after: int) -> Cached:
        """The features of the examples `first` up to `after` of a pack, from what the body gave for all of it."""

    def before_steps(self, cached: Cached, second_order: bool) -> Cached:
        """With what is the same at every step."""

    def gradient(self, cached: Cached, fast: Weights, second_order: bool) -> tuple[Tensor, Weights]:
        """Mean nats a response token, and its gradient by weight; differentiable where `second_order`."""

    def loss(self, cached: Cached, fast: Weights) -> Tensor:
        """Mean nats a response token, differentiable once in features and weights."""


@dataclass(frozen=True, slots=True)
class OutputHead:
    """`lm_head_lora`, or `final_hidden` where `on_hidden`."""

    body: LlamaBody
    rank: int
    alpha: int
    on_hidden: bool = False

    @property
    def cut(self) -> int:
        return self.body.layers

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def new(self, seed: int) -> Weights:
        vocabulary, width = self.body.vocabulary_VD.shape
        bound, chance = 1 / math.sqrt(width), torch.Generator().manual_seed(seed)
        a = torch.empty(self.rank, width).uniform_(-bound, bound, generator=chance)
        return {"head.A": a, "head.B": torch.zeros(width if self.on_hidden else vocabulary, self.rank)}

    def cache(self, hidden_ND: Tensor, pack: Pack, first: int, after: int) -> Cached:
        part = pack.part(first, after)
        return Cached(self.body.normed(hidden_ND[pack.tokens_of(first, after)][part.rows_R]), part)

    def before_steps(self, cached: Cached, second_order: bool) -> Cached:
        with torch.set_grad_enabled(second_order and torch.is_grad_enabled()):
            return replace(cached, logits_RV=cached.x @ self.body.vocabulary_VD.T)

    def gradient(self, cached: Cached, fast: Weights, second_order: bool) -> tuple[Tensor, Weights]:
        assert cached.logits_RV is not None, "before_steps comes first"
        with torch.set_grad_enabled(second_order and torch.is_grad_enabled()):
            targets_R = cached.pack.targets_R
            low = self.low(fast)
            loss, da, db = rows_gradient(cached.logits_RV, cached.x, targets_R, 1 / len(targets_R), low, self.scale)
            if self.on_hidden:
                db = self._through_vocabulary(db)
            return loss, {"head.A": da, "head.B": db}

    def loss(self, cached: Cached, fast: Weights) -> Tensor:
        targets_R = cached.pack.targets_R
        return rows_loss(cached.x, self.body.vocabulary_VD, targets_R, 1 / len(targets_R), self.low(fast), self.scale)

    def low(self, fast: Weights) -> tuple[Tensor, Tensor]:
        """(A: rD, B: Vr) of an equal LoRA on the output matrix."""
        if not self.on_hidden:
            return fast["head.A"], fast["head.B"]
        up_DL = fast["head.B"]
        return fast["head.A"], (self.body.vocabulary_VD @ up_DL.to(self.body.arithmetic)).to(up_DL.dtype)

    def _through_vocabulary(self, db_VL: Tensor) -> Tensor:
        return (self.body.vocabulary_VD.T @ db_VL.to(self.body.arithmetic)).to(db_VL.dtype)


@dataclass(frozen=True, slots=True)
class LastLayers:
    """`last_layers`: the LoRA of the layers from `cut` on, and nothing of the output matrix."""

    body: LlamaBody
    cut: int

    def new(self, seed: int) -> Weights:
        made = new_lora(self.body.config, self.body.shape, seed)
        return {name: weight for name, weight in made.items() if layer_of(name) >= self.cut}

    def cache(self, hidden_ND: Tensor, pack: Pack, first: int, after: int) -> Cached:
        return Cached(hidden_ND[pack.tokens_of(first, after)], pack.part(first, after))

    def before_steps(self, cached: Cached, second_order: bool) -> Cached:
        return cached

    def gradient(self, cached: Cached, fast: Weights, second_order: bool) -> tuple[Tensor, Weights]:
        second_order = second_order and torch.is_grad_enabled()
        if not second_order:
            cached = Cached(cached.x.detach(), cached.pack)
            fast = {name: weight.detach().requires_grad_() for name, weight in fast.items()}
        with torch.enable_grad():
            loss = self._plain_loss(cached, fast) if second_order else self.loss(cached, fast)
            gradients = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
        return loss, dict(zip(fast, gradients, strict=True))

    def loss(self, cached: Cached, fast: Weights) -> Tensor:
        targets_R = cached.pack.targets_R
        return rows_loss(self._rows(cached, fast), self.body.vocabulary_VD, targets_R, 1 / len(targets_R))

    def _plain_loss(self, cached: Cached, fast: Weights) -> Tensor:
        """The same by torch's own cross-entropy, which can be differentiated again."""
        logits_RV = self._rows(cached, fast) @ self.body.vocabulary_VD.T
        return functional.cross_entropy(_wide(logits_RV), cached.pack.targets_R)

    def _rows(self, cached: Cached, fast: Weights) -> Tensor:
        hidden_ND = self.body.run(cached.pack, self.body.prepared(fast), self.cut, hidden_ND=cached.x)
        return self.body.normed(hidden_ND[cached.pack.rows_R])


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
