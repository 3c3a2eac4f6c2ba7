"""Cross-entropy over a large vocabulary, in chunks of rows, with a low-rank change of the output matrix.

    logits = h W' + scale * (h A') B'        loss = sum over rows of weight * -log softmax(logits)[target]

`rows_loss` has one derivative, taken on the way forward, so that logits never outlive their chunk. `rows_gradient` is
the gradient with respect to A and B written out, each of its operations differentiable: what an inner step of
meta-learning needs, and as autograd goes through it once more, what the second order needs.

Shape suffixes: R rows, D width, V vocabulary, L the rank of the change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ROWS = 1024


def rows_loss(
    h_RD: Tensor,
    vocabulary_VD: Tensor,
    targets_R: Tensor,
    weight: float,
    low: tuple[Tensor, Tensor] | None = None,
    scale: float = 1.0,
    chunk: int = CHUNK_ROWS,
) -> Tensor:
    """The weighted sum over rows, a scalar in fp32 (fp64 where h is); differentiable once in h, A and B.

    `low` is (A: LD, B: VL) in the loss's own precision. The vocabulary is frozen.
    """
    a_LD, b_VL = low if low is not None else (None, None)
    loss: Tensor = _RowsLoss.apply(h_RD, vocabulary_VD, targets_R, weight, a_LD, b_VL, scale, chunk)  # type: ignore[no-untyped-call]
    return loss


class _RowsLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h_RD: Tensor,
        vocabulary_VD: Tensor,
        targets_R: Tensor,
        weight: float,
        a_LD: Tensor | None,
        b_VL: Tensor | None,
        scale: float,
        chunk: int,
    ) -> Tensor:
        wide = _wide(h_RD)
        loss = torch.zeros((), dtype=wide, device=h_RD.device)
        dh_RD = torch.empty_like(h_RD) if ctx.needs_input_grad[0] else None
        low = a_LD is not None and b_VL is not None
        da_LD = torch.zeros_like(a_LD) if a_LD is not None else None
        db_VL = torch.zeros_like(b_VL) if b_VL is not None else None
        for start in range(0, len(h_RD), chunk):
            rows = slice(start, start + chunk)
            h, targets = h_RD[rows], targets_R[rows]
            logits = torch.mm(h, vocabulary_VD.T).to(wide)
            if low:
                u_RL = h.to(wide) @ a_LD.T  # type: ignore[union-attr]
                logits.addmm_(u_RL, b_VL.T, alpha=scale)  # type: ignore[union-attr]
            part, g_RV = _in_place(logits, targets, weight)
            loss += part
            if dh_RD is not None:
                dh_RD[rows] = torch.mm(g_RV.to(h.dtype), vocabulary_VD)
            if low and da_LD is not None and db_VL is not None:
                du_RL = (g_RV @ b_VL) * scale  # type: ignore[operator]
                da_LD.addmm_(du_RL.T, h.to(wide))
                db_VL.addmm_(g_RV.T, u_RL, alpha=scale)
                if dh_RD is not None:
                    dh_RD[rows] += (du_RL @ a_LD).to(h.dtype)  # type: ignore[operator]
        ctx.save_for_backward(dh_RD, da_LD, db_VL)
        return loss

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        (times,) = given
        dh, da, db = (part if part is None else part * times.to(part.dtype) for part in ctx.saved_tensors)
        return dh, None, None, None, da, db, None, None


def rows_gradient(
    z_RV: Tensor,
    h_RD: Tensor,
    targets_R: Tensor,
    weight: float,
    low: tuple[Tensor, Tensor],
    scale: float = 1.0,
    chunk: int = CHUNK_ROWS,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, gradient of A: LD, gradient of B: VL), differentiable in z = h W', h, A and B.

    Where autograd records, each chunk is computed again on the way back instead of being kept.
    """
    a_LD, b_VL = low
    loss, da_LD, db_VL = torch.zeros((), dtype=a_LD.dtype, device=h_RD.device), torch.zeros_like(a_LD), None
    for start in range(0, len(h_RD), chunk):
        rows = slice(start, start + chunk)
        given = (z_RV[rows], h_RD[rows], targets_R[rows], weight, a_LD, b_VL, scale)
        part = checkpoint(_chunk, *given, use_reentrant=False) if torch.is_grad_enabled() else _plain_chunk(*given)
        loss, da_LD = loss + part[0], da_LD + part[1]
        db_VL = part[2] if db_VL is None else db_VL + part[2]
    assert db_VL is not None, "a task has rows"
    return loss, da_LD, db_VL


def _chunk(
    z_RV: Tensor, h_RD: Tensor, targets_R: Tensor, weight: float, a_LD: Tensor, b_VL: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    wide = a_LD.dtype
    h = h_RD.to(wide)
    u_RL = h @ a_LD.T
    logits = z_RV.to(wide) + scale * (u_RL @ b_VL.T)
    log_p = logits.log_softmax(-1)
    loss = -log_p.gather(1, targets_R[:, None]).sum() * weight
    hot = torch.zeros_like(log_p).scatter_(1, targets_R[:, None], 1.0)
    g_RV = (log_p.exp() - hot) * weight
    du_RL = (g_RV @ b_VL) * scale
    return loss, du_RL.T @ h, scale * (g_RV.T @ u_RL)


def _plain_chunk(
    z_RV: Tensor, h_RD: Tensor, targets_R: Tensor, weight: float, a_LD: Tensor, b_VL: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same without a graph, in the memory of one copy of the logits."""
    h = h_RD.to(a_LD.dtype)
    u_RL = h @ a_LD.T
    logits = torch.addmm(z_RV.to(a_LD.dtype), u_RL, b_VL.T, alpha=scale)
    loss, g_RV = _in_place(logits, targets_R, weight)
    du_RL = (g_RV @ b_VL) * scale
    return loss, du_RL.T @ h, scale * (g_RV.T @ u_RL)


def _in_place(logits_RV: Tensor, targets_R: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """The loss of rows, and its gradient with respect to their logits, written over them."""
    total_R = logits_RV.logsumexp(-1)
    chosen_R = logits_RV.gather(1, targets_R[:, None])[:, 0]
    g_RV = logits_RV.sub_(total_R[:, None]).exp_()
    g_RV.scatter_add_(1, targets_R[:, None], g_RV.new_full((len(targets_R), 1), -1.0))
    return (total_R - chosen_R).sum() * weight, g_RV.mul_(weight)


def _wide(h: Tensor) -> torch.dtype:
    return torch.float64 if h.dtype == torch.float64 else torch.float32
