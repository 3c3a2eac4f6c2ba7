"""The inner loop against other implementations of MAML: higher, torchopt, and recorded gradients of learn2learn.

A tanh network (ReLU has kinks), three inner steps, fp64. Where learn2learn's come from: tests/golden/make_learn2learn.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import higher
import pytest
import torch
import torchopt
from torch import Tensor

from benchmarks.parts.sinusoid import KINDS, MlpHead, Points, evaluate, new_network, train
from cogumi.training.head import Cached
from cogumi.training.inner import adapt_head

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "learn2learn.json"
STEPS, RATE = 3, 0.05


def network() -> torch.nn.Sequential:
    return new_network(0, torch.nn.Tanh).double()


def inputs() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(x, y) of the support and of the query set, by formula, so that nothing is drawn."""
    x = torch.linspace(-4, 4, 24, dtype=torch.float64)[:, None]
    y = 2.5 * torch.sin(1.3 * x + 0.7)
    return (x[::2], y[::2]), (x[1::2], y[1::2])


def ours(second_order: bool) -> Tensor:
    model = network()
    (sx, sy), (qx, qy) = inputs()
    weights: dict[str, Tensor] = dict(model.named_parameters())
    rates = {name: torch.full((STEPS,), RATE, dtype=torch.float64) for name in weights}
    head = MlpHead(model)
    adapted_on, judged_by = (Cached(x, cast(Any, Points(x, y))) for x, y in ((sx, sy), (qx, qy)))
    fast, _ = adapt_head(cast(Any, head), adapted_on, weights, rates, STEPS, None, second_order)
    gradients = torch.autograd.grad(head.loss(judged_by, fast), list(weights.values()))
    return torch.cat([part.flatten() for part in gradients])


def loss(model: Any, x: Tensor, y: Tensor) -> Tensor:
    return (model(x) - y).pow(2).mean()


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("second_order", [True, False], ids=["maml", "fomaml"])
def test_the_gradient_is_that_of_higher(second_order: bool) -> None:
    model = network()
    (sx, sy), (qx, qy) = inputs()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False, track_higher_grads=True) as (fast, steps):
        for _ in range(STEPS):
            if second_order:
                steps.step(loss(fast, sx, sy))
            else:
                steps.step(loss(fast, sx, sy), grad_callback=lambda grads: [g.detach() for g in grads])
        gradients = torch.autograd.grad(loss(fast, qx, qy), list(model.parameters()))
    assert relative(ours(second_order), torch.cat([part.flatten() for part in gradients])) <= 1e-6


def test_the_gradient_is_that_of_torchopt() -> None:
    model = network()
    (sx, sy), (qx, qy) = inputs()
    start = list(model.parameters())
    optimizer = torchopt.MetaSGD(model, lr=RATE)
    for _ in range(STEPS):
        optimizer.step(loss(model, sx, sy))
    gradients = torch.autograd.grad(loss(model, qx, qy), start)
    assert relative(ours(True), torch.cat([part.flatten() for part in gradients])) <= 1e-6


@pytest.mark.parametrize("second_order", [True, False], ids=["maml", "fomaml"])
def test_the_gradient_is_the_recorded_one_of_learn2learn(second_order: bool) -> None:
    recorded = json.loads(GOLDEN.read_text())["gradients"]["maml" if second_order else "fomaml"]
    assert relative(ours(second_order), torch.tensor(recorded, dtype=torch.float64)) <= 1e-6


def test_first_and_second_order_differ_here() -> None:
    """The control: a test that takes one for the other could not fail."""
    assert relative(ours(True), ours(False)) > 1e-3


def test_sinusoids_in_short() -> None:
    """1,000 of the 15,000 steps of `cogumi bench sinusoid`: the order is there already."""
    one_step = []
    for kind in KINDS:
        trained = train(kind, 10, 1000)
        zero, one = (float(evaluate(trained, kind, 10, steps).mean()) for steps in (0, 1))
        assert zero > one
        one_step.append(one)
    assert one_step == sorted(one_step), dict(zip(KINDS, one_step, strict=True))
