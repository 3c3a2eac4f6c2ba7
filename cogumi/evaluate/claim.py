"""Claiming what validation needs, before torch is imported and anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from cogumi.evaluate.perplexity import CHUNK_ROWS, READ_TOKENS
from cogumi.evaluate.request import Candidate
from cogumi.evaluate.suite import benchmark_files
from cogumi.evaluate.suite_stage import validation_section_of
from cogumi.lm.device import Device, claim_device
from cogumi.recipe import Recipe
from cogumi.sandbox import open_sandbox
from cogumi.training.claim import (
    CACHED_TOKENS,
    CPU_PARAMETERS,
    Shape,
    need_torch,
    section_of,
    shape_of,
    shape_of_base,
    shape_of_model,
)

_SPARE_GIB = 2.0


def check_validation(recipe: Recipe) -> None:
    """What would end a validation and can be known before anything is bought, where its rows are made here: files of
    benchmarks, and the sandbox that programs need.

    Raises InputError stage-not-in-recipe, benchmark-unknown, benchmark-unreadable; RunError sandbox-missing.
    """
    section = validation_section_of(recipe)
    benchmark_files(section.benchmarks)
    benchmark_files(section.recorded)
    if "humaneval" in section.benchmarks and section.sandbox != "off":
        open_sandbox(section.sandbox)


def validation_memory_gib(shapes: Sequence[Shape]) -> float:
    """What the largest of the models needs on a card, roughly: its weights in bf16, and what a pack of tokens holds at
    a time with the logits of a chunk in fp32, or keys and values of the answers that are written at once.
    """
    found = 0.0
    for shape in shapes:
        reading = READ_TOKENS["cuda"] * (12 * shape.hidden + 6 * shape.intermediate) + 8 * CHUNK_ROWS * shape.vocabulary
        writing = 4 * shape.layers * shape.hidden * shape.kv_heads / shape.heads * CACHED_TOKENS
        found = max(found, 2 * shape.parameters + max(reading, writing))
    return found / 2**30 + _SPARE_GIB


def claim_for_validation(recipe: Recipe, models: Sequence[Candidate] = ()) -> Device:
    """The device of this process, by the models' sizes, or by those that the recipe is about to make. A model of more
    than 500M parameters is not validated on a CPU.

    Raises InputError extra-missing, model-unreadable; RunError no-gpu, gpu-of-another-kind, gpu-too-small.
    """
    validation_section_of(recipe)
    need_torch(f"{recipe.name}: validation")
    return _claimed([shape_of(model.source) for model in models] or [_expected(recipe)])


def claim_for_models(models: Sequence[Candidate]) -> Device:
    """As claim_for_validation, for models that somebody names."""
    need_torch("evaluate")
    return _claimed([shape_of(model.source) for model in models])


def _claimed(shapes: Sequence[Shape]) -> Device:
    small = max(shape.parameters for shape in shapes) < CPU_PARAMETERS
    return claim_device(validation_memory_gib(shapes), allow_cpu=small)


def _expected(recipe: Recipe) -> Shape:
    if recipe.train is not None:
        return shape_of_model(recipe)
    return shape_of_base(section_of(recipe), recipe.dataset.tokenizer.vocab_size)
