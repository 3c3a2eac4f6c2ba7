"""The same bits each time on a GPU: the switch for one kernel, and the look-up of embeddings, whose gradient needs it.

torch's switch is one of the whole process. It is on for single kernels only, as other operations would refuse to run
or take slower kernels.

Shape suffixes: B windows, T tokens, V words of the vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_MEMORY: Any = torch.utils.deterministic


@contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic kernels for as long as the block lasts, without new memory being filled first."""
    before = torch.get_deterministic_debug_mode()
    filled = _MEMORY.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("error")
    _MEMORY.fill_uninitialized_memory = False
    try:
        yield
    finally:
        _MEMORY.fill_uninitialized_memory = filled
        torch.set_deterministic_debug_mode(before)


def embedded(ids_BT: Tensor, weight_VD: Tensor) -> Tensor:
    """The rows of `weight_VD`: BTD. A word's gradient is the sum over its places in a fixed order; one derivative."""
    found: Tensor = _LookUp.apply(ids_BT, weight_VD)  # type: ignore[no-untyped-call]
    return found


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids_BT: Tensor, weight_VD: Tensor) -> Tensor:
        ctx.save_for_backward(ids_BT)
        ctx.words = len(weight_VD)
        return weight_VD[ids_BT]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given_BTD: Tensor) -> tuple[None, Tensor]:
        (ids_BT,) = ctx.saved_tensors
        with deterministic():
            gradient_VD = torch.ops.aten.embedding_dense_backward(given_BTD, ids_BT, ctx.words, -1, False)
        return None, gradient_VD
