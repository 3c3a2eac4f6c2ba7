"""LlamaBody: a Llama's layers as pure functions of packed tokens and LoRA weights.

    body = LlamaBody(model, LoraShape(rank=16, alpha=32))
    hidden_ND = body.run(pack, body.prepared(lora))        # before the last norm
    logits_RV = body.normed(hidden_ND[pack.rows_R]) @ body.vocabulary_VD.T

The model's own weights are used where they lie and never changed. Modules that read the same input share it, and their
A matrices are one product. Where `compiled`, a layer is fused by torch.compile, one graph for all layers. After Llama
(Touvron et al. 2023): RMS norm, rotary positions, grouped queries, gated feed-forward.

Shape suffixes: N tokens, D width, H query heads, G key and value heads, K width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from transformers import LlamaForCausalLM

from cogumi.errors import InputError
from cogumi.training.attention import Attention, by_example, varlen
from cogumi.training.lora import LayerLora, LoraShape, Part, Prepared, Weights, fused, prepared
from cogumi.training.packing import Pack
from cogumi.training.sharded import Frozen, Stack, frozen_of
from cogumi.training.team import ALONE, Team

_SMALL = (torch.float16, torch.bfloat16)


class Keep(StrEnum):
    """What of a layer is kept for the way back; the rest is computed again."""

    EVERYTHING = "everything"
    PRODUCTS = "products"
    """Of matrices and of attention: nothing that takes long is computed twice."""
    INPUTS = "inputs"


class LlamaBody:
    """The frozen part. `arithmetic` is the type of its weights, in which LoRA computes too."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        shape: LoraShape,
        attention: Attention | None = None,
        *,
        compiled: bool = False,
        keep: Keep = Keep.EVERYTHING,
        team: Team = ALONE,
    ) -> None:
        """`attention`: varlen on a GPU, by example elsewhere, unless another is given. `team`: who trains on it
        together; the model may be in parts among them. Raises InputError model-unsupported.
        """
        config = model.config
        if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
            raise InputError("model-unsupported", "a Llama with biases")
        self.config = config
        self.shape = shape
        self.training = True
        self.compiled = compiled
        self.vocabulary_VD: Tensor = model.lm_head.weight.detach()
        self.arithmetic = self.vocabulary_VD.dtype
        self.device = str(self.vocabulary_VD.device)
        self._embedding_VD: Tensor = model.model.embed_tokens.weight.detach()
        self._norm_D: Tensor = model.model.norm.weight.detach()
        self._rotary = model.model.rotary_emb
        self._epsilon = float(config.rms_norm_eps)
        layers: Any = model.model.layers
        self.team = team
        self._stack = layers if isinstance(layers, Stack) else None
        self._layers = [] if self._stack else [frozen_of(layer) for layer in layers]
        attention = attention or (varlen if self.device.startswith("cuda") else by_example)
        one = partial(_kept, keep, partial(_layer, attention, self._epsilon))
        self._layer: Callable[..., Tensor] = torch.compile(one) if compiled else one

    @property
    def layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def in_parts(self) -> bool:
        """Whether its layers are divided among the team, so that all must run it as often."""
        return self._stack is not None

    def prepared(self, lora: Weights) -> Prepared:
        """LoRA masters as the layers want them, for as many runs as share them; empty for none."""
        return (fused if self.compiled else prepared)(lora, self.shape, self.arithmetic)

    def embed(self, pack: Pack) -> Tensor:
        """ND, what the first layer reads."""
        return functional.embedding(pack.ids_N, self._embedding_VD)

    def normed(self, hidden: Tensor) -> Tensor:
        """The last norm, which the vocabulary reads; ...D."""
        return rms_norm(hidden, self._norm_D, self._epsilon)

    def run(
        self, pack: Pack, lora: Prepared, first: int = 0, after: int | None = None, hidden_ND: Tensor | None = None
    ) -> Tensor:
        """The layers from `first` up to `after`, on what comes before them (default: the embedding); ND."""
        x_ND = self.embed(pack) if hidden_ND is None else hidden_ND
        cos_NK, sin_NK = (part[0] for part in self._rotary(x_ND, position_ids=pack.positions_N[None]))
        half = sin_NK.shape[-1] // 2
        sin_NK = torch.cat((-sin_NK[:, :half], sin_NK[:, half:]), dim=-1)
        dropout = self.shape.dropout if self.training else 0.0
        longest = pack.bounds.new_empty(pack.longest, 0)
        self._vary(cos_NK, sin_NK, pack.bounds, longest)
        after = self.layers if after is None else after
        if self._stack is not None:
            whole: Tensor = self._stack(
                self._varied, x_ND, lora, first, after, cos_NK, sin_NK, pack.bounds, longest, dropout
            )
            return whole
        for number in range(first, after):
            frozen, low = self._layers[number], lora.get(number, {})
            x_ND = self._varied(x_ND, frozen, low, cos_NK, sin_NK, pack.bounds, longest, dropout)
        return x_ND

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without dropout and without a graph, for as long as the block lasts."""
        training, self.training = self.training, False
        try:
            with torch.no_grad():
                yield
        finally:
            self.training = training

    def _varied(self, x_ND: Tensor, *rest: Any) -> Tensor:
        self._vary(x_ND)
        return self._layer(x_ND, *rest)

    def _vary(self, *tensors: Tensor) -> None:
        """Tell the compiler that their first size differs from pack to pack, and every other one does not."""
        if self.compiled:
            for tensor in tensors:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)


def rms_norm(x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * weight, in fp32 where x is of 16 bits."""
    wide = x.float() if x.dtype in _SMALL else x
    return weight_D * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(x.dtype)


def _kept(keep: Keep, layer: Callable[..., Tensor], *inputs: Any) -> Tensor:
    if keep is Keep.EVERYTHING or not torch.is_grad_enabled():
        return layer(*inputs)
    if keep is Keep.INPUTS:
        return checkpoint(layer, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
    contexts = partial(create_selective_checkpoint_contexts, _products)
    return checkpoint(layer, *inputs, use_reentrant=False, context_fn=contexts)  # type: ignore[no-any-return]


def _products(context: Any, operation: Any, *given: Any, **more: Any) -> CheckpointPolicy:
    """Keep products with a model's own matrices, and attention. Products with the low rank are cheap to make again."""
    name = str(operation)
    if name.startswith("aten.mm") and min(*given[0].shape[1:], *given[1].shape) > _LOW_RANK:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.MUST_SAVE if "attn" in name or "attention" in name else CheckpointPolicy.PREFER_RECOMPUTE


_LOW_RANK = 512


def _layer(
    attention: Attention,
    epsilon: float,
    x_ND: Tensor,
    frozen: Frozen,
    lora: LayerLora,
    cos_NK: Tensor,
    sin_NK: Tensor,
    bounds: Tensor,
    longest: Tensor,
    dropout: float,
) -> Tensor:
    """`longest` is the size of an empty tensor: as a number it would be a constant to the compiler."""
    h_ND = rms_norm(x_ND, frozen["input_norm"], epsilon)
    parts = _linears(h_ND, ("q_proj", "k_proj", "v_proj"), frozen, lora.get("qkv"), dropout)
    q_NHK, k_NGK, v_NGK = (part.unflatten(-1, (-1, cos_NK.shape[-1])) for part in parts)
    q_NHK, k_NGK = _rotated(q_NHK, cos_NK, sin_NK), _rotated(k_NGK, cos_NK, sin_NK)
    attended_NHK = attention(q_NHK, k_NGK, v_NGK, bounds, longest.shape[0])
    (attended_ND,) = _linears(attended_NHK.flatten(1), ("o_proj",), frozen, lora.get("o"), dropout)
    x_ND = x_ND + attended_ND
    h_ND = rms_norm(x_ND, frozen["post_norm"], epsilon)
    gate, up = _linears(h_ND, ("gate_proj", "up_proj"), frozen, lora.get("gate_up"), dropout)
    (down_ND,) = _linears(functional.silu(gate) * up, ("down_proj",), frozen, lora.get("down"), dropout)
    return x_ND + down_ND


def _linears(x: Tensor, modules: tuple[str, ...], frozen: Frozen, lora: Part | None, dropout: float) -> list[Tensor]:
    """Modules of one input, each with its LoRA where it has one."""
    found = [functional.linear(x, frozen[module]) for module in modules]
    if lora is None:
        return found
    a, changes = lora
    low = functional.linear(functional.dropout(x, dropout) if dropout else x, a)
    of_module = dict(zip(changes, low.chunk(len(changes), dim=-1), strict=True))
    return [
        y + functional.linear(of_module[module], changes[module]) if module in changes else y
        for module, y in zip(modules, found, strict=True)
    ]


def _rotated(x_NHK: Tensor, cos_NK: Tensor, sin_NK: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, equation 34) in the layout of halves that transformers uses; the first half of
    the sines is negated.
    """
    halves: Tensor = x_NHK.unflatten(-1, (2, -1))
    swapped = halves.flip(-2).flatten(-2)
    return x_NHK * cos_NK[:, None] + swapped * sin_NK[:, None]
