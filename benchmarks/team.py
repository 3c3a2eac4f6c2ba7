"""A meta-step of eight tasks by one process and by a team of two, the base whole in each or its layers in parts.

At Llama-3.1-8B's size where there are two GPUs, and there on a base that one does not hold; at the demo's size and by
Gloo elsewhere, where it tells that it works and little of speed.
"""

from __future__ import annotations

import os
import subprocess  # nosec B404 # torchrun, with arguments of our own
import sys

import orjson
import torch

from benchmarks.measuring import Figure, report
from cogumi.cli.output import note

_LIMIT_S = 900


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    on_gpu = torch.cuda.is_available() and torch.cuda.device_count() > 1
    size = "8b" if on_gpu else "demo"
    one, two = (_case(count, size, "whole", "products") for count in (1, 2))
    parts = _case(2, size, "parts", "products")
    least = 1.7 if on_gpu else None
    figures = [
        Figure(f"{size}, one process", one["seconds"], "s a step"),
        Figure(f"{size}, two processes", two["seconds"], "s a step"),
        Figure(f"{size}, one / two", one["seconds"] / two["seconds"], "ratio", low=least),
        Figure(f"{size}, two, in parts", parts["seconds"], "s a step"),
        Figure(f"{size}, two, in parts / whole", parts["seconds"] / two["seconds"], "ratio"),
    ]
    if on_gpu:
        names = ("one process", "two processes", "two, in parts")
        figures += [
            Figure(f"{size}, {name}, memory of a card", case["gib"], "GiB")
            for name, case in zip(names, (one, two, parts), strict=True)
        ]
    if on_gpu and not quick:
        large = _case(2, "50b", "parts", "inputs")
        figures += [
            Figure("50b, two, in parts, checkpointed", large["seconds"], "s a step"),
            Figure("50b, two, in parts, memory of a card", large["gib"], "GiB", high=78),
        ]
    settings = {"tasks": 8, "cards": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    report("team", figures, settings, save=save, table=table)


def _case(count: int, size: str, form: str, keep: str) -> dict[str, float]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    command += ["-m", "benchmarks.parts.team_child", size, form, keep]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run(  # nosec B603
        command, stdout=subprocess.PIPE, timeout=_LIMIT_S, env=environment, check=True
    )
    note(f"{count} x {size}, {form}, {keep}: {done.stdout.decode().strip()}")
    found: dict[str, float] = orjson.loads(done.stdout.splitlines()[-1])
    return found
