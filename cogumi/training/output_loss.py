"""The loss of a model whose output matrix learns too, in chunks of places, so that logits never outlive their chunk.

    loss = chunked_loss(hidden_ND, output_VD, cross_entropy_of(tokens_N))

At 128,256 words the logits of 4,096 places are 2 GiB in fp32, and autograd keeps several such tensors. Here the one
derivative is taken on the way forward: a chunk's logits are made, its loss is read, its gradient is written over them
and multiplied out, and the next chunk takes their place. As in loss.py, where the matrix is frozen.

Shape suffixes: N places, C places of a chunk, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OfChunk = Callable[[slice, Tensor], Tensor]
"""(which places, their logits CV) -> the loss of each (C); the sum's gradient is left where the logits were."""
_CHUNK_BYTES = {"cpu": 2**22, "cuda": 2**29}
_LEAST_ROWS = 64
_LEAST = -1e30  # in place of -inf, which is not to be subtracted from itself


def chunked_loss(hidden_ND: Tensor, output_VD: Tensor, of_chunk: OfChunk, rows: int | None = None) -> Tensor:
    """The mean over places, a scalar in fp32 (fp64 where `output_VD` is); differentiable once in both tensors.

    Products are in the precision that `hidden_ND` is in, `of_chunk` gets fp32, and the matrix's gradient is added up
    in its own precision. `rows` is the length of a chunk; None for one that suits the device.
    """
    loss: Tensor = _ChunkedLoss.apply(hidden_ND, output_VD, of_chunk, rows or _rows(output_VD))  # type: ignore[no-untyped-call]
    return loss


def cross_entropy_of(tokens_N: Tensor) -> OfChunk:
    """-log softmax(logits)[token], of the tokens that were to come."""

    def of_chunk(places: slice, logits_CV: Tensor) -> Tensor:
        tokens_C1 = tokens_N[places, None].long()
        chosen_C1 = logits_CV.gather(-1, tokens_C1)
        total_C1 = to_shares(logits_CV)
        logits_CV.scatter_add_(-1, tokens_C1, logits_CV.new_full(tokens_C1.shape, -1.0))
        return (total_C1 - chosen_C1)[:, 0]

    return of_chunk


def to_shares(logits_CV: Tensor) -> Tensor:
    """log of the sum of exp(logit): C1. Softmax takes the logits' place; 0 where all of a row are -inf."""
    top_C1 = logits_CV.amax(-1, keepdim=True).clamp_(min=_LEAST)
    sum_C1 = logits_CV.sub_(top_C1).exp_().sum(-1, keepdim=True)
    logits_CV.mul_(sum_C1.clamp(min=1e-30).reciprocal_())
    return sum_C1.log_().add_(top_C1)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, output_VD: Tensor, of_chunk: OfChunk, rows: int) -> Tensor:
        matrix_VD = output_VD.to(hidden_ND.dtype)
        wide = torch.promote_types(output_VD.dtype, torch.float32)
        places = len(hidden_ND)
        dhidden_ND = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        doutput_VD = torch.zeros_like(output_VD) if ctx.needs_input_grad[1] else None
        scratch_CV = hidden_ND.new_empty((min(rows, places), len(output_VD)))
        total = torch.zeros((), dtype=wide, device=hidden_ND.device)
        for start in range(0, places, rows):
            chosen = slice(start, min(start + rows, places))
            hidden_CD = hidden_ND[chosen]
            logits_CV = torch.mm(hidden_CD, matrix_VD.T, out=scratch_CV[: len(hidden_CD)]).to(wide)
            total += of_chunk(chosen, logits_CV).sum()
            gradient_CV = logits_CV.to(hidden_ND.dtype)
            if dhidden_ND is not None:
                torch.mm(gradient_CV, matrix_VD, out=dhidden_ND[chosen])
            if doutput_VD is not None:
                _add_product(doutput_VD, gradient_CV, hidden_CD)
        ctx.save_for_backward(dhidden_ND, doutput_VD)
        ctx.places = places
        return total / places

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        times = given / ctx.places
        dhidden, doutput = (part if part is None else part * times.to(part.dtype) for part in ctx.saved_tensors)
        return dhidden, doutput, None, None


def _add_product(sum_VD: Tensor, gradient_CV: Tensor, hidden_CD: Tensor) -> None:
    if sum_VD.dtype == gradient_CV.dtype:
        sum_VD.addmm_(gradient_CV.T, hidden_CD)
    else:
        sum_VD += torch.mm(gradient_CV.T, hidden_CD)


def _rows(output_VD: Tensor) -> int:
    """4 MiB of logits stay in a processor's cache; a GPU wants more at once."""
    most = _CHUNK_BYTES[output_VD.device.type]
    return max(_LEAST_ROWS, most // (4 * len(output_VD)))
