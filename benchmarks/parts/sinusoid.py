"""Sinusoids (Finn et al. 2017, section 5.1): few points of a sine wave, and the whole wave is asked for.

Amplitude 0.1 to 5, phase 0 to pi, x from -5 to 5; a network of 1-40-40-1 with ReLU; one inner step of 0.01. All tasks
of a batch at once, by torch.func.vmap over the same inner loop that language models use.

Shape suffixes: T tasks, K points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from cogumi.training.head import Cached
from cogumi.training.inner import adapt_head
from cogumi.training.lora import Weights

WIDTH = 40
INNER_RATE = 0.01
KINDS = ("maml", "fomaml", "anil", "joint")


@dataclass(frozen=True, slots=True)
class Points:
    """Inputs and outputs of points, ...K1; stands for the pack of a language model's head."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, slots=True)
class MlpHead:
    """A network, or the end of one, as what the inner loop adapts; loss: mean squared error."""

    network: torch.nn.Module
    cut: int = 0

    def before_steps(self, cached: Cached, second_order: bool) -> Cached:
        return cached

    def gradient(self, cached: Cached, fast: Weights, second_order: bool) -> tuple[Tensor, Weights]:
        gradient, loss = grad_and_value(lambda weights: self.loss(cached, weights))(fast)
        return loss, gradient if second_order else {name: part.detach() for name, part in gradient.items()}

    def loss(self, cached: Cached, fast: Weights) -> Tensor:
        targets = cast("Points", cached.pack).y
        made: Tensor = functional_call(self.network, fast, (cached.x,))
        return (made - targets).pow(2).mean()


def new_network(seed: int, activation: Callable[[], torch.nn.Module] = torch.nn.ReLU) -> torch.nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(*sizes) for sizes in ((1, WIDTH), (WIDTH, WIDTH), (WIDTH, 1))]
    return torch.nn.Sequential(layers[0], activation(), layers[1], activation(), layers[2])


def draw(tasks: int, support: int, query: int, chance: torch.Generator) -> tuple[Points, Points]:
    """(support, query) of that many waves, TK1 each."""
    amplitude_T11 = 0.1 + 4.9 * torch.rand(tasks, 1, 1, generator=chance)
    phase_T11 = torch.pi * torch.rand(tasks, 1, 1, generator=chance)
    x_TK1 = 10 * torch.rand(tasks, support + query, 1, generator=chance) - 5
    y_TK1 = amplitude_T11 * torch.sin(x_TK1 + phase_T11)
    return Points(x_TK1[:, :support], y_TK1[:, :support]), Points(x_TK1[:, support:], y_TK1[:, support:])


def task_losses(
    network: torch.nn.Sequential, kind: str, weights: Weights, support: Points, query: Points, steps: int
) -> Tensor:
    """T, each task's query loss after `steps` inner steps; `joint` is adapted as `maml` is."""
    begins = 4 if kind == "anil" else 0
    head = MlpHead(network[begins:])
    slow = {name: w for name, w in weights.items() if int(name.partition(".")[0]) < begins}
    fast = {name: w for name, w in weights.items() if name not in slow}
    rates = {name: torch.full((max(1, steps),), INNER_RATE, dtype=w.dtype) for name, w in fast.items()}

    def features(x_K1: Tensor) -> Tensor:
        return cast(Tensor, functional_call(network[:begins], slow, (x_K1,))) if begins else x_K1

    def one(sx: Tensor, sy: Tensor, qx: Tensor, qy: Tensor) -> Tensor:
        adapted_on = Cached(features(sx), cast(object, Points(sx, sy)))  # type: ignore[arg-type]
        judged_by = Cached(features(qx), cast(object, Points(qx, qy)))  # type: ignore[arg-type]
        adapted, _ = adapt_head(head, adapted_on, fast, rates, steps, None, kind != "fomaml")  # type: ignore[arg-type]
        return head.loss(judged_by, adapted)

    return vmap(one)(support.x, support.y, query.x, query.y)


def train(kind: str, points: int, iterations: int, seed: int = 0, tasks: int = 25) -> torch.nn.Sequential:
    """Adam, 1e-3; `joint` is plain training on all tasks. On one thread: the matrices are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(kind, points, iterations, seed, tasks)
    finally:
        torch.set_num_threads(threads)


def _train(kind: str, points: int, iterations: int, seed: int, tasks: int) -> torch.nn.Sequential:
    network, chance = new_network(seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    weights: Weights = dict(network.named_parameters())
    for _ in range(iterations):
        support, query = draw(tasks, points, points, chance)
        loss = task_losses(network, kind, weights, support, query, 0 if kind == "joint" else 1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def evaluate(network: torch.nn.Sequential, kind: str, points: int, steps: int, tasks: int = 600) -> Tensor:
    """T, the loss on 100 points of waves that were not trained on."""
    support, query = draw(tasks, points, 100, torch.Generator().manual_seed(12345))
    weights = {name: w.detach() for name, w in network.named_parameters()}
    return task_losses(network, kind, weights, support, query, steps)
