"""Flash attention over packed sequences whose gradient has the same bits each time: torch's kernels as operations of
one's own, which torch.compile takes as they are.

The backward kernel gives a block of keys to each of its workers, and all add to the gradient of the queries in the
order in which they finish, so its deterministic form is taken (Dao 2023, FlashAttention-2).

Shape suffixes: N tokens, H query heads, G key and value heads (they divide H), K width of a head, S+1 bounds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cogumi.training.determinism import deterministic


@torch.library.custom_op("cogumi::packed_attention", mutates_args=())
def packed_attention(
    queries_NHK: Tensor, keys_NGK: Tensor, values_NGK: Tensor, bounds: Tensor, longest: int
) -> tuple[Tensor, Tensor]:
    """Causal attention within each segment: (NHK, the logarithms of the softmax's sums HN, fp32).

    16-bit floats on a GPU. `bounds` are int32, of segments of at most `longest` tokens; one derivative.
    """
    attended, sums, *_ = torch.ops.aten._flash_attention_forward(
        queries_NHK, keys_NGK, values_NGK, bounds, bounds, longest, longest, 0.0, True, False
    )
    return attended, sums


@packed_attention.register_fake
def _(queries_NHK: Tensor, keys_NGK: Tensor, values_NGK: Tensor, bounds: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    tokens, heads, _ = queries_NHK.shape
    return torch.empty_like(queries_NHK), queries_NHK.new_empty((heads, tokens), dtype=torch.float32)


@torch.library.custom_op("cogumi::packed_attention_backward", mutates_args=())
def packed_attention_backward(
    given_NHK: Tensor,
    queries_NHK: Tensor,
    keys_NGK: Tensor,
    values_NGK: Tensor,
    attended_NHK: Tensor,
    sums_HN: Tensor,
    bounds: Tensor,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values, each added in a fixed order."""
    no_dropout = torch.zeros(2, dtype=torch.uint64, device=bounds.device), bounds.new_empty(0)
    segments = (bounds, bounds, longest, longest)
    with deterministic():
        dq, dk, dv = torch.ops.aten._flash_attention_backward(
            given_NHK, queries_NHK, keys_NGK, values_NGK, attended_NHK, sums_HN, *segments, 0.0, True, *no_dropout
        )
    return dq, dk, dv


@packed_attention_backward.register_fake
def _(given_NHK: Tensor, queries_NHK: Tensor, keys_NGK: Tensor, values_NGK: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return torch.empty_like(queries_NHK), torch.empty_like(keys_NGK), torch.empty_like(values_NGK)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, longest = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.longest = longest


def _gradients(ctx: Any, given_NHK: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    queries, keys, values, bounds, attended, sums = ctx.saved_tensors
    inputs = (queries, keys, values, attended, sums, bounds, ctx.longest)
    return (*torch.ops.cogumi.packed_attention_backward(given_NHK, *inputs), None, None)


packed_attention.register_autograd(_gradients, setup_context=_remember)
