"""Claiming what the base stage needs, before torch is imported and anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from cogumi.errors import InputError
from cogumi.lm.device import Device, claim_device
from cogumi.recipe import BaseSection, Recipe

_STATE_BYTES = 16  # a parameter: fp32 weight, gradient, two moments
_SPARE_GIB = 1.0


def section_of(recipe: Recipe) -> BaseSection:
    """The recipe's section. Raises InputError stage-not-in-recipe where it has none."""
    if recipe.base is None:
        raise InputError("stage-not-in-recipe", f"{recipe.name}: base")
    return recipe.base


def memory_gib(section: BaseSection, vocab_size: int) -> float:
    """What training needs at most, roughly: optimizer state, activations, and logits three times in fp32."""
    attention = 2 * section.hidden_size**2 * (1 + section.kv_heads / section.heads)
    layer = attention + 3 * section.hidden_size * section.intermediate_size
    parameters = vocab_size * section.hidden_size + section.layers * layer
    tokens = section.batch_windows * section.seq_length
    activations = tokens * section.layers * (16 * section.hidden_size + 8 * section.intermediate_size) * 2
    return float(_STATE_BYTES * parameters + activations + 12 * tokens * vocab_size) / 2**30 + _SPARE_GIB


def training_is_installed() -> bool:
    """Whether the extra `train` is there."""
    return all(find_spec(name) is not None for name in ("torch", "transformers", "safetensors"))


def claim_for_base(recipe: Recipe) -> Device:
    """The device of this process.

    Raises InputError torch-missing, stage-not-in-recipe; RunError no-gpu, gpu-of-another-kind, gpu-too-small.
    """
    section = section_of(recipe)
    if not training_is_installed():
        raise InputError("torch-missing", f"{recipe.name}: base")
    return claim_device(memory_gib(section, recipe.dataset.tokenizer.vocab_size), allow_cpu=True)
