"""Likelihood of 500 rows, 100 of each of five benchmarks: packed, and by loops over padded batches of eight.

On a GPU at Llama-3.1-8B's size with random weights; elsewhere at the demo's, where it shows that all say the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM

from benchmarks.measuring import Figure, report
from benchmarks.parts.demo import demo_llama
from benchmarks.parts.llama8b import llama_8b
from cogumi.evaluate.likelihood import Packed, read_packed, read_padded
from cogumi.evaluate.perplexity import Likelihood
from cogumi.lm.chat import Encoded
from cogumi.training.body import LlamaBody
from cogumi.training.lora import LoraShape

BATCH, WHOLE = 8, 2048
_LENGTHS = Path(__file__).parent / "parts" / "suite_lengths.json"
Read = Callable[[Sequence[Encoded]], list[Likelihood]]


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    gpu = torch.cuda.is_available()
    model = llama_8b("cuda") if gpu else demo_llama()
    model.train(False)
    rows = suite_rows(int(model.config.vocab_size))
    rows = rows[:: 20 if quick or not gpu else 1]
    ways: dict[str, Read] = {
        "padded, as the rows come": lambda some: read_padded(model, some, BATCH, by_length=False),
        "padded, by length": lambda some: read_padded(model, some, BATCH),
        "packed": _packed(model, compiled=False),
    }
    if gpu:
        ways["packed, layers compiled"] = _packed(model, compiled=True)
    seconds, found = {}, {}
    for name, read in ways.items():
        read(rows[:: max(1, len(rows) // 40)])  # kernels, and what is compiled
        seconds[name], found[name] = _timed(read, rows)
    loop = "padded, as the rows come"
    figures = [Figure(f"{name}: 500 rows" if gpu and not quick else name, took, "s") for name, took in seconds.items()]
    best = min(seconds[name] for name in seconds if name.startswith("packed"))
    if gpu and not quick:
        part = rows[:: len(rows) // 40]
        whole, _ = _timed(lambda some: _to_full_length(model, some), part)
        figures.append(Figure(f"padded to {WHOLE}: 500 rows, from {len(part)}", whole * len(rows) / len(part), "s"))
        figures.append(Figure(f"padded to {WHOLE} / packed", whole * len(rows) / len(part) / best, "ratio"))
    figures += [
        Figure(f"{loop} / packed, the better of both", seconds[loop] / best, "ratio", low=3.0 if gpu else None),
        Figure("padded, by length / packed, the better of both", seconds["padded, by length"] / best, "ratio"),
        Figure("largest difference of a row's nats, relative", _apart(found[loop], found["packed"]), "ratio",
               high=0.02 if gpu else 1e-5),
        Figure("nats a token, padded and packed, relative", _apart_in_all(found[loop], found["packed"]), "ratio",
               high=1e-3 if gpu else 1e-5),
    ]  # fmt: skip
    tokens = [len(row.ids) for row in rows]
    batches = [tokens[at : at + BATCH] for at in range(0, len(tokens), BATCH)]
    settings: dict[str, Any] = {
        "rows": len(rows), "tokens": sum(tokens), "response_tokens": sum(sum(row.mask) for row in rows),
        "tokens_padded": sum(max(batch) * len(batch) for batch in batches), "batch": BATCH,
    }  # fmt: skip
    report("likelihood", figures, settings, save=save, table=table)


def suite_rows(vocabulary: int) -> list[Encoded]:
    """500 rows of random words with the lengths of five benchmarks' rows, in the order of a suite."""
    told = json.loads(_LENGTHS.read_text())
    rng = Random(0)
    return [
        Encoded([rng.randrange(vocabulary) for _ in range(asked + said)], [0] * asked + [1] * said)
        for name, lengths in told.items()
        if name != "of"
        for asked, said in lengths
    ]


def _packed(model: LlamaForCausalLM, compiled: bool) -> Read:
    packed = Packed(LlamaBody(model, LoraShape(1, 1), compiled=compiled))
    return lambda some: read_packed(packed, some)


@torch.no_grad()
def _to_full_length(model: LlamaForCausalLM, rows: Sequence[Encoded]) -> list[Likelihood]:
    """Every row padded to one length, as a tokenizer's `padding="max_length"` does."""
    for start in range(0, len(rows), BATCH):
        ids = torch.zeros((len(rows[start : start + BATCH]), WHOLE), dtype=torch.long)
        for place, row in enumerate(rows[start : start + BATCH]):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
        ids = ids.to(model.device)
        logits = model(input_ids=ids, attention_mask=(ids > 0).long(), use_cache=False).logits[:, :-1]
        for one, words in zip(logits, ids[:, 1:], strict=True):  # all at once would not fit beside 8B weights
            torch.nn.functional.cross_entropy(one.float(), words)
    return []


def _timed(read: Read, rows: Sequence[Encoded]) -> tuple[float, list[Likelihood]]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.monotonic()
    found = read(rows)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - began, found


def _apart(one: list[Likelihood], other: list[Likelihood]) -> float:
    return max(abs(a.nats - b.nats) / b.nats for a, b in zip(one, other, strict=True))


def _apart_in_all(one: list[Likelihood], other: list[Likelihood]) -> float:
    mine, theirs = (sum(each.nats for each in side) for side in (one, other))
    return abs(mine - theirs) / theirs
