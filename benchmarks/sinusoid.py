"""Sinusoid regression: MAML, FOMAML, ANIL and joint training after 0 to 10 steps on 10 points."""

from __future__ import annotations

import time
from itertools import pairwise

from benchmarks.measuring import Figure, report
from benchmarks.parts.sinusoid import KINDS, evaluate, train
from cogumi.training.gain import mean_of

_POINTS = 10


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Train each and print its losses."""
    iterations = 3000 if quick else 15_000
    figures: list[Figure] = []
    one_step: dict[str, float] = {}
    for kind in KINDS:
        began = time.monotonic()
        network = train(kind, _POINTS, iterations)
        seconds = time.monotonic() - began
        for steps in (0, 1, 5, 10):
            found = mean_of(evaluate(network, kind, _POINTS, steps).double())
            high = 0.60 if (kind, steps) == ("maml", 1) and not quick else None
            figures.append(Figure(f"{kind}, {steps} steps", found.mean, "MSE", high=high))
            figures.append(Figure(f"{kind}, {steps} steps, half of the 95% interval", found.high - found.mean, "MSE"))
            if steps == 1:
                one_step[kind] = found.mean
        figures.append(Figure(f"{kind}, training", seconds, "s"))
    for before, after in pairwise(KINDS):
        ratio = one_step[before] / one_step[after]
        figures.append(Figure(f"{before} / {after}, 1 step", ratio, "ratio", high=1.0))
    settings = {
        "points": _POINTS,
        "iterations": iterations,
        "tasks_per_step": 25,
        "inner_rate": 0.01,
        "test_tasks": 600,
    }
    report("sinusoid", figures, settings, save=save, table=table)
