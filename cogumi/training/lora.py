"""LoRA: low-rank changes of a model's matrices, as plain tensors by name (Hu et al. 2021, equation 3).

    shape = LoraShape(rank=16, alpha=32)
    lora = new_lora(model.config, shape, seed=0)        # {"layers.0.q_proj.A": ..., "layers.0.q_proj.B": ..., ...}

A is r x inputs, B is outputs x r; a layer gives x W' + alpha / r * (x A') B'. Fast weights are another dict of the same
names: nothing is ever changed in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig

from cogumi.errors import InputError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MODULES = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
GROUPS = {"qkv": ("q_proj", "k_proj", "v_proj"), "o": ("o_proj",), "gate_up": ("gate_proj", "up_proj"),
          "down": ("down_proj",)}  # fmt: skip
"""Modules of a layer that read the same input."""
Weights = dict[str, Tensor]
"""Masters, by name."""
Part = tuple[Tensor, dict[str, Tensor]]
"""Of a group: all its A matrices one above the other, and each module's B times alpha / r."""
LayerLora = dict[str, Part]
Prepared = dict[int, LayerLora]
"""By layer and group, in the arithmetic of a body."""


@dataclass(frozen=True, slots=True)
class LoraShape:
    """Rank, alpha, share of inputs dropped in training, and the modules that are changed in every layer."""

    rank: int
    alpha: int
    dropout: float = 0.0
    modules: tuple[str, ...] = MODULES

    def __post_init__(self) -> None:
        unknown = set(self.modules) - set(MODULES)
        if unknown:
            raise InputError("lora-bad-shape", f"modules {sorted(unknown)}; there are {', '.join(MODULES)}")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def new_lora(config: LlamaConfig, shape: LoraShape, seed: int, dtype: torch.dtype = torch.float32) -> Weights:
    """Fresh weights as PEFT makes them: A uniform within 1/sqrt(inputs), B zero, so that nothing is changed yet."""
    chance = torch.Generator().manual_seed(seed)
    made: Weights = {}
    for name, size in lora_sizes(config, shape).items():
        made[name] = torch.zeros(size, dtype=dtype)
        if name.endswith(".A"):
            bound = 1 / math.sqrt(size[1])
            made[name].uniform_(-bound, bound, generator=chance)
    return made


def lora_sizes(config: LlamaConfig, shape: LoraShape) -> dict[str, tuple[int, int]]:
    """Of the weights that new_lora makes, by name."""
    found: dict[str, tuple[int, int]] = {}
    for layer in range(int(config.num_hidden_layers)):
        for module, (outputs, inputs) in sizes(config, shape.modules):
            found[f"layers.{layer}.{module}.A"] = (shape.rank, inputs)
            found[f"layers.{layer}.{module}.B"] = (outputs, shape.rank)
    return found


def layer_of(name: str) -> int:
    """The layer that a LoRA weight belongs to: 3 of layers.3.q_proj.A."""
    return int(name.split(".")[1])


def module_path(name: str) -> str:
    """Where transformers keeps a module: model.layers.3.mlp.up_proj of layers.3.up_proj."""
    module = name.rpartition(".")[2]
    return f"model.layers.{layer_of(name)}.{'self_attn' if module in ATTENTION else 'mlp'}.{module}"


def sizes(config: LlamaConfig, modules: tuple[str, ...] = MODULES) -> Iterator[tuple[str, tuple[int, int]]]:
    """(module, (outputs, inputs)) of one layer."""
    width, inner = int(config.hidden_size), int(config.intermediate_size)
    heads = int(config.num_attention_heads)
    head = int(getattr(config, "head_dim", None) or width // heads)
    queries, keys = heads * head, int(config.num_key_value_heads or heads) * head
    known = {
        "q_proj": (queries, width), "k_proj": (keys, width), "v_proj": (keys, width), "o_proj": (width, queries),
        "gate_proj": (inner, width), "up_proj": (inner, width), "down_proj": (width, inner),
    }  # fmt: skip
    for module in modules:
        yield module, known[module]


def prepared(lora: Weights, shape: LoraShape, dtype: torch.dtype) -> Prepared:
    """Masters as a body wants them, by operations that autograd can go through more than once."""
    made: Prepared = {}
    for layer, group, modules in _places(lora, shape):
        a = torch.cat([lora[f"layers.{layer}.{module}.A"] for module in modules]).to(dtype)
        b = {module: (lora[f"layers.{layer}.{module}.B"] * shape.scale).to(dtype) for module in modules}
        made.setdefault(layer, {})[group] = (a, b)
    return made


def fused(lora: Weights, shape: LoraShape, dtype: torch.dtype) -> Prepared:
    """The same by one operation for all weights, which can be differentiated once: a GPU has no time to lose on 448
    small ones.
    """
    if not lora:
        return {}
    places = list(_places(lora, shape))
    names = [f"layers.{n}.{module}.{part}" for n, _, modules in places for part in "AB" for module in modules]
    heights = [len(modules) for _, _, modules in places]
    made: tuple[Tensor, ...] = _Fused.apply(dtype, shape.scale, heights, *(lora[name] for name in names))  # type: ignore[no-untyped-call]
    found: Prepared = {}
    at = 0
    for layer, group, modules in places:
        found.setdefault(layer, {})[group] = (made[at], dict(zip(modules, made[at + 1 :], strict=False)))
        at += 1 + len(modules)
    return found


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, scale: float, heights: list[int], *masters: Tensor) -> tuple[Tensor, ...]:
        ctx.scale, ctx.heights = scale, heights
        made: list[Tensor] = []
        goals: list[Tensor] = []
        scaled: list[Tensor] = []
        at = 0
        for height in heights:
            a, b = masters[at : at + height], masters[at + height : at + 2 * height]
            whole = a[0].new_empty(sum(len(part) for part in a), a[0].shape[1], dtype=dtype)
            b_made = [torch.empty_like(part, dtype=dtype) for part in b]
            goals += [*whole.split([len(part) for part in a]), *b_made]
            scaled += b_made
            made += [whole, *b_made]
            at += 2 * height
        torch._foreach_copy_(goals, masters)
        torch._foreach_mul_(scaled, scale)
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        parts: list[Tensor] = []
        at = 0
        for height in ctx.heights:
            whole, b = given[at], given[at + 1 : at + 1 + height]
            parts += [*whole.chunk(height), *b]
            at += 1 + height
        found = [torch.empty_like(part, dtype=torch.float32, memory_format=torch.contiguous_format) for part in parts]
        torch._foreach_copy_(found, parts)
        scaled, at = [], 0
        for height in ctx.heights:
            scaled += found[at + height : at + 2 * height]
            at += 2 * height
        torch._foreach_mul_(scaled, ctx.scale)
        return None, None, None, *found


def _places(lora: Weights, shape: LoraShape) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(layer, group, modules of it that have a LoRA), for the layers that `lora` holds."""
    for layer in sorted({layer_of(name) for name in lora}):
        for group, modules in GROUPS.items():
            changed = tuple(module for module in modules if module in shape.modules)
            if changed:
                yield layer, group, changed
