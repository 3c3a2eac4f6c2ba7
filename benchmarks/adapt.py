"""adapt() on 5 examples of 300 tokens: at the demo's size anywhere, at Llama-3.1-8B's on a GPU, beside one forward."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from random import Random

import torch
from transformers import LlamaForCausalLM

from benchmarks.measuring import Figure, report
from benchmarks.parts.demo import demo_llama
from benchmarks.parts.llama8b import llama_8b
from cogumi.lm.chat import Encoded
from cogumi.training.adapt import adapt
from cogumi.training.adaptable import Adaptable
from cogumi.training.algorithms import Algorithm, Inner, new_weights
from cogumi.training.body import LlamaBody
from cogumi.training.head import OutputHead
from cogumi.training.lora import LoraShape
from cogumi.training.packing import pack

EXAMPLES, TOKENS, STEPS = 5, 300, 3


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    times = 5 if quick else 20
    figures = _figures("demo size, CPU", demo_llama(), "lm_head_lora", times, 1.0)
    figures += _figures("demo size, CPU", demo_llama(), "final_hidden", times, 1.0)
    if torch.cuda.is_available():
        model = llama_8b("cuda")
        for kind in ("lm_head_lora", "final_hidden"):
            figures += _figures("8B, GPU", model, kind, times, 0.15)
    settings = {"examples": EXAMPLES, "tokens": TOKENS, "steps": STEPS, "rank": 16, "times": times}
    report("adapt", figures, settings, save=save, table=table)


def _figures(where: str, model: LlamaForCausalLM, kind: str, times: int, most: float) -> list[Figure]:
    """Half of each example is its response. Leaving one out in turn is part of `adapt` unless it says otherwise."""
    body = LlamaBody(model, LoraShape(16, 32))
    head = OutputHead(body, 16, 32, on_hidden=kind == "final_hidden")
    weights = new_weights(body, head, STEPS, 0.1, seed=0)
    of = Adaptable(model, body, head, weights, Inner(Algorithm.ANIL, STEPS, 1.0), "random")
    rng, vocabulary = Random(0), int(model.config.vocab_size)
    # one word of its own in each response: random weights know nothing, but the rows have that in common
    rows = [
        Encoded([rng.randrange(vocabulary) for _ in range(TOKENS // 2)] + [7] * (TOKENS // 2),
                [0] * (TOKENS // 2) + [1] * (TOKENS // 2))
        for _ in range(EXAMPLES)
    ]  # fmt: skip
    packed = pack(rows, body.device)
    prepared = body.prepared(weights.slow)

    def forward() -> None:
        with body.evaluating():
            body.run(packed, prepared)

    found = {
        "adapt": lambda: adapt(of, rows),
        "adapt, not tried": lambda: adapt(of, rows, check=False),
        "forward": forward,
    }
    seconds = {name: _median(step, times) for name, step in found.items()}
    title = f"{where}, {kind}"
    return [
        Figure(f"{title}: adapt", seconds["adapt"], "s", high=most),
        Figure(f"{title}: adapt, no example left out", seconds["adapt, not tried"], "s"),
        Figure(f"{title}: adapt / one forward of the rows", seconds["adapt"] / seconds["forward"], "ratio"),
    ]


def _median(step: Callable[[], object], times: int) -> float:
    seconds = []
    for number in range(times + 2):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        began = time.monotonic()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds += [time.monotonic() - began] if number >= 2 else []
    return statistics.median(seconds)
