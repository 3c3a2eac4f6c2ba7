"""A meta-step at Llama-3.1-8B's shapes: FLOPs by a counter on any machine; time and memory where there is a GPU."""

from __future__ import annotations

import tempfile

import torch

from benchmarks.measuring import Figure, report
from benchmarks.parts.llama8b import QUERY, STEPS, SUPPORT, TASKS, llama_8b
from benchmarks.parts.meta_flops import meta_step_tflop
from benchmarks.parts.meta_gpu import DENSE_ROWS, DENSE_TOKENS, dense_cost, meta_cost, spec_cost, trainer_cost
from cogumi.training.algorithms import Algorithm
from cogumi.training.body import Keep


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    settings = {"tasks": TASKS, "support": SUPPORT, "query": QUERY, "inner_steps": STEPS, "rank": 16,
                "flop_tokens": 300, "dense": f"{DENSE_ROWS} x {DENSE_TOKENS} tokens a micro-batch"}  # fmt: skip
    figures = _flops()
    if torch.cuda.is_available():
        figures += _gpu(quick)
    report("meta", figures, settings, save=save, table=table)


def _flops() -> list[Figure]:
    found = meta_step_tflop([Algorithm.SFT, Algorithm.ANIL1, Algorithm.ANIL, Algorithm.FOMAML])
    sft = found[Algorithm.SFT]
    return [
        Figure("FLOPs, first order / SFT on the query", found[Algorithm.ANIL1] / sft, "ratio", high=1.55),
        Figure("FLOPs, second order / SFT on the query", found[Algorithm.ANIL] / sft, "ratio", high=2.05),
        Figure("FLOPs, FOMAML / SFT on the query", found[Algorithm.FOMAML] / sft, "ratio"),
        Figure("SFT on the query", sft, "TFLOP a step"),
    ]


def _gpu(quick: bool) -> list[Figure]:
    model = llama_8b("cuda")
    first = meta_cost(model, Algorithm.ANIL1, Keep.EVERYTHING)
    second = meta_cost(model, Algorithm.ANIL, Keep.EVERYTHING)
    figures = [
        Figure("first order", first.seconds, "s a step", high=0.36),
        Figure("first order, memory", first.gib, "GiB", high=34),
        Figure("second order", second.seconds, "s a step", high=0.50),
        Figure("second order, memory", second.gib, "GiB", high=48),
    ]
    if quick:
        return figures
    products, inputs = (meta_cost(model, Algorithm.ANIL, keep) for keep in (Keep.PRODUCTS, Keep.INPUTS))
    hidden = meta_cost(model, Algorithm.ANIL, Keep.EVERYTHING, "final_hidden")
    fomaml = meta_cost(model, Algorithm.FOMAML, Keep.EVERYTHING, count=3)
    dense = dense_cost(model, Keep.EVERYTHING)
    spec = spec_cost(model)
    trainer = trainer_cost(model, tempfile.mkdtemp())
    tokens = DENSE_ROWS * DENSE_TOKENS
    return [
        *figures,
        Figure("second order, products kept", products.seconds, "s a step"),
        Figure("second order, products kept, memory", products.gib, "GiB"),
        Figure("second order, checkpointed", inputs.seconds, "s a step"),
        Figure("second order, checkpointed, memory", inputs.gib, "GiB", high=24),
        Figure("second order, final_hidden", hidden.seconds, "s a step"),
        Figure("the specification's loop over PEFT", spec.seconds, "s a step"),
        Figure("the specification's loop, memory", spec.gib, "GiB"),
        Figure("the specification's loop / first order", spec.seconds / first.seconds, "ratio", low=7),
        Figure("our packed FOMAML / first order", fomaml.seconds / first.seconds, "ratio", low=2.5),
        Figure("dense LoRA SFT, 4096 tokens", tokens / dense.seconds, "tokens/s", low=12_500),
        Figure("dense LoRA SFT, memory", dense.gib, "GiB"),
        Figure("dense LoRA SFT, HF Trainer with PEFT, checkpointed", tokens / trainer.seconds, "tokens/s"),
        Figure("dense LoRA SFT, ours / HF Trainer", trainer.seconds / dense.seconds, "ratio"),
    ]
