"""Claiming what training needs, before torch is imported and anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from cogumi.errors import InputError
from cogumi.extras import missing, need
from cogumi.lm.device import Device, claim_device
from cogumi.lm.hub import HUB
from cogumi.recipe import BaseSection, DraftSection, Recipe, TrainSection

_TRAINING = ("torch", "transformers", "safetensors", "peft")
_STATE_BYTES = 16  # a trained parameter: fp32 weight, gradient, two moments
_SPARE_GIB = 1.0
CPU_PARAMETERS = 5e8
"""A CPU is not asked to train or to compare larger models."""
_SCORED_TOKENS = 4096
CACHED_TOKENS = 131072
"""Whose keys and values are held at once while answers are written, at most: 16 GiB of an 8B model."""
ROW_TOKENS = 300
"""Of a row, where the rows are not read yet."""
_WIDTHS = {"everything": (10, 3), "products": (8, 2), "inputs": (2, 0)}
"""Numbers kept a layer and token: times the width, times the feed-forward's. Measured at 8B, see docs/benchmarks."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What memory follows from. `tied`: one matrix for the embedding and the output."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool

    @property
    def layer_parameters(self) -> float:
        attention = 2 * self.hidden**2 * (1 + self.kv_heads / self.heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def parameters(self) -> float:
        return (1 if self.tied else 2) * self.vocabulary * self.hidden + self.layers * self.layer_parameters


def section_of(recipe: Recipe) -> BaseSection:
    """The recipe's section of the base model. Raises InputError stage-not-in-recipe where it has none."""
    if recipe.base is None:
        raise InputError("stage-not-in-recipe", f"{recipe.name}: base")
    return recipe.base


def train_section_of(recipe: Recipe) -> TrainSection:
    """The recipe's section of adapters. Raises InputError stage-not-in-recipe where it has none."""
    if recipe.train is None:
        raise InputError("stage-not-in-recipe", f"{recipe.name}: train")
    return recipe.train


def shape_of_base(section: BaseSection | DraftSection, vocab_size: int) -> Shape:
    """Of the model that a recipe's section makes from nothing."""
    return Shape(
        section.hidden_size,
        section.intermediate_size,
        section.layers,
        section.heads,
        section.kv_heads,
        vocab_size,
        True,
    )


def draft_section_of(recipe: Recipe) -> DraftSection:
    """The recipe's section of the draft model. Raises InputError stage-not-in-recipe where it has none."""
    if recipe.draft is None:
        raise InputError("stage-not-in-recipe", f"{recipe.name}: draft")
    return recipe.draft


def shape_of_model(recipe: Recipe) -> Shape:
    """Of the model that adapters go on: a folder's, a hub id's, or the one that the recipe makes.

    Raises InputError model-not-allowed, model-unreadable.
    """
    source = train_section_of(recipe).base
    return shape_of(source) if source else shape_of_base(section_of(recipe), recipe.dataset.tokenizer.vocab_size)


def shape_of_target(recipe: Recipe, target: str = "") -> Shape:
    """Of the model that a draft proposes to, as `draft_memory_gib` says."""
    named = target or draft_section_of(recipe).target
    if named:
        return shape_of(named)
    made = recipe.train is None
    return shape_of_base(section_of(recipe), recipe.dataset.tokenizer.vocab_size) if made else shape_of_model(recipe)


def shape_of_draft(recipe: Recipe, target: str = "") -> Shape:
    """Of the draft for this target, whose words it has, also where it comes with others."""
    section, words = draft_section_of(recipe), shape_of_target(recipe, target).vocabulary
    return replace(shape_of(section.model), vocabulary=words) if section.model else shape_of_base(section, words)


def shape_of(source: str) -> Shape:
    """Of a folder's or a hub id's model. Raises InputError model-not-allowed, model-unreadable."""
    if source in HUB:
        return Shape(*HUB[source])
    if not Path(source).is_dir():
        raise InputError("model-not-allowed", f"{source}: neither a folder nor one of {', '.join(HUB)}")
    try:
        config = orjson.loads((Path(source) / "config.json").read_bytes())
        heads = int(config["num_attention_heads"])
        return Shape(
            int(config["hidden_size"]), int(config["intermediate_size"]), int(config["num_hidden_layers"]), heads,
            int(config.get("num_key_value_heads") or heads), int(config["vocab_size"]),
            bool(config.get("tie_word_embeddings", False)),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("model-unreadable", f"{source}/config.json: {error!r}") from None


def memory_gib(section: BaseSection, vocab_size: int) -> float:
    """What training a base needs at most, roughly: optimizer state, activations, and logits three times in fp32."""
    shape = shape_of_base(section, vocab_size)
    tokens = section.batch_windows * section.seq_length
    activations = tokens * shape.layers * (16 * shape.hidden + 8 * shape.intermediate) * 2
    return float(_STATE_BYTES * shape.parameters + activations + 12 * tokens * vocab_size) / 2**30 + _SPARE_GIB


def adapter_memory_gib(recipe: Recipe) -> float:
    """What training adapters needs at least on a card, roughly: the frozen base in bf16, or a share of it, LoRA with
    its optimizer state, and what one episode of rows of 300 tokens keeps. More tasks at once take more; where that does
    not fit, fewer go at once.
    """
    section, shape = train_section_of(recipe), shape_of_model(recipe)
    lora = section.lora.rank * shape.layers * len(section.lora.modules) * (shape.hidden + shape.intermediate)
    by_width, by_inner = _WIDTHS[section.keep]
    whole = shape.parameters - shape.layers * shape.layer_parameters
    base = whole + shape.layers * shape.layer_parameters / (section.processes if section.shard_base else 1)
    tokens = (section.support + section.query) * ROW_TOKENS
    kept = 2 * tokens * shape.layers * (by_width * shape.hidden + by_inner * shape.intermediate)
    logits = 3 * tokens * shape.vocabulary  # 16 bits, of every other token, thrice
    return float(2 * base + (_STATE_BYTES + 2) * lora + kept + logits) / 2**30 + _SPARE_GIB


def draft_memory_gib(recipe: Recipe, target: str = "") -> float:
    """What training a draft needs, roughly: the frozen target in bf16, the draft with its optimizer state, and a step's
    activations and logits, three times in fp32, or the target's on as many tokens as go at once.

    The target is `target`, or the model that the recipe names or makes.
    """
    section, of_target = draft_section_of(recipe), shape_of_target(recipe, target)
    draft = shape_of_draft(recipe, target)
    tokens = section.rows_per_step * ROW_TOKENS
    activations = tokens * draft.layers * (16 * draft.hidden + 8 * draft.intermediate) * 2
    logits = 12 * max(tokens, _SCORED_TOKENS) * of_target.vocabulary
    return float(2 * of_target.parameters + _STATE_BYTES * draft.parameters + activations + logits) / 2**30 + _SPARE_GIB


def training_is_installed() -> bool:
    """Whether the extra `train` is there."""
    return not missing(*_TRAINING)


def claim_for_base(recipe: Recipe) -> Device:
    """The device of this process.

    Raises InputError extra-missing, stage-not-in-recipe; RunError no-gpu, gpu-of-another-kind, gpu-too-small.
    """
    section = section_of(recipe)
    need_torch(f"{recipe.name}: base")
    return claim_device(memory_gib(section, recipe.dataset.tokenizer.vocab_size), allow_cpu=True)


def claim_for_adapters(recipe: Recipe) -> Device:
    """As claim_for_base. A base of more than 500M parameters is not trained on a CPU: it would take days."""
    gib = adapter_memory_gib(recipe)
    need_torch(f"{recipe.name}: train")
    processes = train_section_of(recipe).processes
    return claim_device(gib, count=processes, allow_cpu=shape_of_model(recipe).parameters < CPU_PARAMETERS)


def claim_for_draft(recipe: Recipe, target: str = "") -> Device:
    """As claim_for_adapters, by the size of the target."""
    gib = draft_memory_gib(recipe, target)
    need_torch(f"{recipe.name}: draft")
    return claim_device(gib, allow_cpu=shape_of_target(recipe, target).parameters < CPU_PARAMETERS)


def claim_for_imitation(recipe: Recipe, target: str) -> Device:
    """As claim_for_draft, by the size of the draft alone."""
    need_torch(f"{recipe.name}: draft")
    gib = draft_memory_gib(recipe, target) - 2 * shape_of_target(recipe, target).parameters / 2**30
    return claim_device(gib, allow_cpu=shape_of_draft(recipe, target).parameters < CPU_PARAMETERS)


def need_torch(what: str) -> None:
    """Raises InputError extra-missing where the extra `train` is not there."""
    need(what, *_TRAINING)
