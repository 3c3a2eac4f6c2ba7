"""Applied: a model of transformers that answers with low-rank changes for as long as a block lasts.

    with applied(model, [Change("lm_head", a, b)]):
        model.generate(...)

No weight is written: the changes are added to what the modules give, by hooks that are removed at the end, whatever
happens in between. So the model is afterwards what it was, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

from cogumi.errors import RunError
from cogumi.training.lora import LoraShape, Weights, module_path

_CHANGED: WeakSet[LlamaForCausalLM] = WeakSet()


@dataclass(frozen=True, slots=True)
class Change:
    """Of one module: x A' B' is added to its output, in the arithmetic of A (L x inputs) and B (outputs x L)."""

    module: str
    a: Tensor
    b: Tensor


def lora_changes(lora: Weights, shape: LoraShape, model: LlamaForCausalLM) -> list[Change]:
    """What LoRA masters change, in the model's arithmetic."""
    modules = [name.removesuffix(".A") for name in lora if name.endswith(".A")]
    parts = ((name, lora[f"{name}.A"], lora[f"{name}.B"] * shape.scale) for name in modules)
    return [Change(module_path(name), a.to(model.dtype), b.to(model.dtype)) for name, a, b in parts]


@contextmanager
def applied(model: LlamaForCausalLM, changes: Sequence[Change]) -> Iterator[LlamaForCausalLM]:
    """The same model, changed. Raises RunError adaptation-in-use where it is changed already: two would add up."""
    if model in _CHANGED:
        raise RunError("adaptation-in-use")
    with ExitStack() as undo:
        _CHANGED.add(model)
        undo.callback(_CHANGED.discard, model)
        for change in changes:
            undo.callback(model.get_submodule(change.module).register_forward_hook(_adding(change)).remove)
        yield model


def _adding(change: Change) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(module: Any, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        low = functional.linear(given[0].to(change.a.dtype), change.a)
        return output + functional.linear(low, change.b).to(output.dtype)

    return hook
