"""Divergences against their definitions over whole distributions, and what they promise when words are pooled."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cogumi.training.draft.divergence import Divergence, Soft, soften
from cogumi.training.output_loss import chunked_loss

N, V = 6, 40


def logits(seed: int) -> Tensor:
    return 2 * torch.randn(N, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def by_definition(kind: Divergence, p: Tensor, q: Tensor) -> Tensor:
    if kind is Divergence.KL:
        return (p * (p / q).log()).sum(-1)
    tv = (p - q).abs().sum(-1) / 2
    return tv if kind is Divergence.TV else -(1 - tv).log()


def losses(kind: Divergence, draft: Tensor, soft: Soft) -> Tensor:
    """Of each place."""
    return kind.of(soft)(slice(0, N), draft.detach().clone())[0]


def summed(kind: Divergence, draft: Tensor, soft: Soft) -> Tensor:
    """Over places that are given by their logits; in chunks of two."""
    return chunked_loss(draft, torch.eye(V, dtype=draft.dtype), kind.of(soft), rows=2) * len(draft)


@pytest.mark.parametrize("kind", list(Divergence))
@pytest.mark.parametrize("keep", [V, 1000, V - 1, 8, 1])
def test_it_is_the_definition_on_words_kept_and_the_rest(kind: Divergence, keep: int) -> None:
    target, draft = logits(0), logits(1)
    found = losses(kind, draft, soften(target, keep))
    p, q = target.double().softmax(-1), draft.double().softmax(-1)
    whole = by_definition(kind, p, q)
    order = p.argsort(descending=True)
    p, q = (x.gather(-1, order) for x in (p, q))
    pooled = [torch.cat([x[:, :keep], x[:, keep:].sum(-1, keepdim=True)], -1) if keep < V else x for x in (p, q)]
    assert (found - by_definition(kind, *pooled)).abs().max() <= 1e-5
    assert (found <= whole + 1e-5).all(), "pooling hides differences, and adds none"


@pytest.mark.parametrize("kind", list(Divergence))
@pytest.mark.parametrize("keep", [V, 8])
def test_the_gradient_is_that_of_finite_differences(kind: Divergence, keep: int) -> None:
    soft = soften(logits(0), keep)
    draft = logits(1).requires_grad_()
    (gradient,) = torch.autograd.grad(summed(kind, draft, soft), draft)
    for seed in range(5):
        way = torch.randn(N, V, generator=torch.Generator().manual_seed(10 + seed))
        with torch.no_grad():
            there, back = (losses(kind, draft + step * way, soft).double().sum() for step in (1e-2, -1e-2))
        assert float((gradient * way).sum()) == pytest.approx(float(there - back) / 2e-2, rel=0.03, abs=3e-3)


@pytest.mark.parametrize("kind", list(Divergence))
@pytest.mark.parametrize("keep", [V, 8, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_autograds_through_the_definition(kind: Divergence, keep: int, dtype: torch.dtype) -> None:
    target, draft = logits(0), logits(1).to(dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(summed(kind, draft, soften(target, keep)), draft)
    p, wide = target.double().softmax(-1), draft.detach().double().requires_grad_()
    order = p.argsort(descending=True)
    p, q = (x.gather(-1, order) for x in (p, wide.softmax(-1)))
    if keep < V:
        p, q = (torch.cat([x[:, :keep], x[:, keep:].sum(-1, keepdim=True)], -1) for x in (p, q))
    (plain,) = torch.autograd.grad(by_definition(kind, p, q).sum(), wide)
    assert (gradient - plain).abs().max() <= 2e-5 * (1 + plain.abs().max())


@pytest.mark.parametrize("kind", list(Divergence))
def test_equal_distributions_are_no_distance_apart_and_far_ones_have_a_gradient(kind: Divergence) -> None:
    target = logits(0)
    for keep in (V, 8):
        assert losses(kind, target, soften(target, keep)).abs().max() <= 1e-5
    certain = torch.full((1, V), -math.inf)
    certain[0, 3] = 0
    far = torch.zeros(1, V)
    far[0, 3] = -60
    far.requires_grad_()
    loss = summed(kind, far, soften(certain, 4))
    (gradient,) = torch.autograd.grad(loss, far)
    assert loss.isfinite().all() and gradient.isfinite().all()
    assert (gradient[0, 3].abs() > 0.5) == (kind is not Divergence.TV), "TV alone gives nothing to go by out there"


@pytest.mark.parametrize("kind", list(Divergence))
def test_going_down_it_the_draft_becomes_the_target(kind: Divergence) -> None:
    soft = soften(logits(0), V)
    draft = torch.zeros(N, V, requires_grad=True)
    optimizer = torch.optim.Adam([draft], lr=0.1)
    for step in range(600):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / 600)
        optimizer.zero_grad()
        summed(kind, draft, soft).backward()
        optimizer.step()
    taken = torch.minimum(logits(0).softmax(-1), draft.detach().softmax(-1)).sum(-1)
    assert taken.min() > 0.97
