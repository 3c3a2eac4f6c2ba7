"""The loss of a model whose output matrix learns too, in chunks of places, so that logits never outlive their chunk.

    loss = chunked_loss(hidden_ND, output_VD, cross_entropy_of(tokens_N))

At 128,256 words the logits of 4,096 places are 2 GiB in fp32, and autograd keeps several such tensors. Here the one
derivative is taken on the way forward: a chunk's logits are made, its loss is read, its gradient is multiplied out, and
the next chunk takes their place. As in loss.py, where the matrix is frozen.

Shape suffixes: N places, C places of a chunk, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OfChunk = Callable[[slice, Tensor], tuple[Tensor, Tensor]]
"""(which places, their logits CV) -> the loss of each (C), and the gradient of their sum by the logits (CV), in fp32 at
least. The logits may be written over."""
_CHUNK_BYTES = {"cpu": 2**23, "cuda": 2**29}
_LEAST_ROWS = 64


def chunked_loss(hidden_ND: Tensor, output_VD: Tensor, of_chunk: OfChunk, rows: int | None = None) -> Tensor:
    """The mean over places, a scalar in fp32 (fp64 where `output_VD` is); differentiable once in both tensors.

    Products are in the precision that `hidden_ND` is in, and the matrix's gradient is added up in its own. `rows` is
    the length of a chunk; None for one that suits the device.
    """
    loss: Tensor = _ChunkedLoss.apply(hidden_ND, output_VD, of_chunk, rows or _rows(output_VD))  # type: ignore[no-untyped-call]
    return loss


def cross_entropy_of(tokens_N: Tensor) -> OfChunk:
    """-log softmax(logits)[token], of the tokens that were to come."""

    def of_chunk(places: slice, logits_CV: Tensor) -> tuple[Tensor, Tensor]:
        tokens_C1 = tokens_N[places, None].long()
        total_C1, share_CV = shares(logits_CV)
        loss_C1 = total_C1 - logits_CV.gather(-1, tokens_C1)
        return loss_C1[:, 0], share_CV.scatter_add_(-1, tokens_C1, share_CV.new_full(tokens_C1.shape, -1.0))

    return of_chunk


def shares(logits_CV: Tensor) -> tuple[Tensor, Tensor]:
    """log of the sum of exp(logit), C1, and the softmax, in fp32 at least. The first follows from the most probable
    word, whose share is never too small for its logarithm.
    """
    share_CV = logits_CV.softmax(-1, dtype=torch.promote_types(logits_CV.dtype, torch.float32))
    return logits_CV.amax(-1, keepdim=True) - share_CV.amax(-1, keepdim=True).log(), share_CV


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, output_VD: Tensor, of_chunk: OfChunk, rows: int) -> Tensor:
        matrix_VD = output_VD.to(hidden_ND.dtype)
        places = len(hidden_ND)
        dhidden_ND = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        doutput_VD = torch.zeros_like(output_VD) if ctx.needs_input_grad[1] else None
        scratch_CV = hidden_ND.new_empty((min(rows, places), len(output_VD)))
        wide = torch.promote_types(output_VD.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden_ND.device)
        for start in range(0, places, rows):
            chosen = slice(start, min(start + rows, places))
            hidden_CD = hidden_ND[chosen]
            loss_C, gradient_CV = of_chunk(chosen, torch.mm(hidden_CD, matrix_VD.T, out=scratch_CV[: len(hidden_CD)]))
            total += loss_C.sum()
            gradient_CV = gradient_CV.to(hidden_ND.dtype)
            if dhidden_ND is not None:
                torch.mm(gradient_CV, matrix_VD, out=dhidden_ND[chosen])
            if doutput_VD is not None:
                _add_product(doutput_VD, gradient_CV, hidden_CD)
        ctx.save_for_backward(dhidden_ND, doutput_VD)
        ctx.places, ctx.is_spent = places, False
        return total / places

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.is_spent:
            raise RuntimeError("chunked_loss has one backward, which scales its gradients where they are")
        times, ctx.is_spent = given / ctx.places, True
        dhidden, doutput = (part if part is None else part.mul_(times) for part in ctx.saved_tensors)
        return dhidden, doutput, None, None


def _add_product(sum_VD: Tensor, gradient_CV: Tensor, hidden_CD: Tensor) -> None:
    """In the sum's precision; on a GPU without the product by itself."""
    if sum_VD.dtype == gradient_CV.dtype:
        sum_VD.addmm_(gradient_CV.T, hidden_CD)
    elif sum_VD.is_cuda and sum_VD.dtype == torch.float32:
        torch.addmm(sum_VD, gradient_CV.T, hidden_CD, out_dtype=torch.float32, out=sum_VD)
    else:
        sum_VD += torch.mm(gradient_CV.T, hidden_CD)


def _rows(output_VD: Tensor) -> int:
    """8 MiB of logits stay in a processor's cache; a GPU wants more at once."""
    most = _CHUNK_BYTES[output_VD.device.type]
    return max(_LEAST_ROWS, most // (4 * len(output_VD)))
