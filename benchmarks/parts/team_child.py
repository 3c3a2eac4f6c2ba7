"""One process of a team that takes meta-steps on random weights: torchrun -m benchmarks.parts.team_child SIZE FORM KEEP

SIZE is 8b, 50b (Llama 3's 70B with 56 of its 80 layers) or demo; FORM whole or parts. The first process prints a JSON
line: seconds of a step of eight tasks, and the largest peak of allocated memory of all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import orjson
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.parts.llama8b import STEPS, batches, head_for, weights_for
from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Algorithm, Episode, Inner, meta_loss
from cogumi.training.body import Keep, LlamaBody
from cogumi.training.gain import in_step
from cogumi.training.lora import LoraShape
from cogumi.training.sharded import Frozen, frozen_of, with_parts
from cogumi.training.team import Team, joined

_SIZES = {  # width, feed-forward, layers, heads, key heads, vocabulary
    "8b": (4096, 14336, 32, 32, 8, 128_256),
    "50b": (8192, 28672, 56, 64, 8, 128_256),
    "demo": (192, 528, 4, 6, 2, 4096),
}


def main() -> None:
    """Measure one case."""
    size, form, keep = sys.argv[1:4]
    on_gpu = torch.cuda.is_available()
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_gpu else "cpu"
    with joined(device) as team:
        team = Team(team.rank, team.size, device)
        seconds = _seconds(_model(size, form, team), Keep(keep), team)
        peak = torch.cuda.max_memory_allocated() if on_gpu else 0
        gib = team.most(peak) / 2**30
        if team.first:
            os.write(1, orjson.dumps({"seconds": seconds, "gib": gib}, option=orjson.OPT_APPEND_NEWLINE))


def _seconds(model: LlamaForCausalLM, keep: Keep, team: Team) -> float:
    """Of a step by the second order: loss, backward, exchange, clipping, AdamW."""
    body = LlamaBody(model, LoraShape(16, 32), compiled=team.device != "cpu", keep=keep, team=team)
    head = head_for(Algorithm.ANIL, body)
    weights = weights_for(body, head)
    trained = [*weights.slow.values(), *weights.head.values(), *weights.rates.values()]
    optimizer, inner = torch.optim.AdamW(trained, lr=1e-5), Inner(Algorithm.ANIL, STEPS, 1.0)
    count, warm = (6, 3) if team.device != "cpu" else (2, 1)
    halves = batches(2 * (count + warm))
    words = int(model.config.vocab_size)
    lists = [_within(words, one + other) for one, other in zip(halves[::2], halves[1::2], strict=True)]

    def step(episodes: list[Episode]) -> None:
        mine = team.share(episodes)
        groups = [group for group in (mine[:4], mine[4:]) if group]  # as many tokens at once, whoever works
        for group, counts in in_step(body, groups):
            loss, _ = meta_loss(body, head, weights, group, inner)
            (loss * (counts * len(group) / len(episodes))).backward()
        team.sum_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for episodes in lists[:warm]:
        step(episodes)
    team.wait()
    began = time.monotonic()
    for episodes in lists[warm:]:
        step(episodes)
    team.wait()
    return (time.monotonic() - began) / count


def _within(words: int, episodes: list[Episode]) -> list[Episode]:
    """With the tokens of a smaller vocabulary."""

    def row(given: Encoded) -> Encoded:
        return Encoded([number % words for number in given.ids], given.mask)

    return [Episode(e.task, [row(r) for r in e.support], [row(r) for r in e.query]) for e in episodes]


def _model(size: str, form: str, team: Team) -> LlamaForCausalLM:
    """The same random weights in every process, in bf16 on a GPU."""
    width, inner, layers, heads, keys, words = _SIZES[size]
    config = LlamaConfig(
        vocab_size=words, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, head_dim=width // heads,
        num_attention_heads=heads, num_key_value_heads=keys, max_position_embeddings=8192, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    dtype = torch.bfloat16 if team.device != "cpu" else torch.float32
    with torch.device("meta"):
        made: Any = LlamaForCausalLM(config)

    def filled(weight: Tensor) -> Tensor:
        return torch.empty(weight.shape, dtype=dtype, device=team.device).normal_(std=0.02)

    def random_layers() -> Iterator[Frozen]:
        for layer in made.model.layers:
            yield {name: filled(weight) for name, weight in frozen_of(layer).items()}

    for name in ("model.embed_tokens", "model.norm", "lm_head"):
        module = made.get_submodule(name)
        module.weight = torch.nn.Parameter(filled(module.weight), requires_grad=False)
    made.model.rotary_emb = type(made.model.rotary_emb)(config).to(team.device)
    if form == "parts":
        return with_parts(made, random_layers(), team)
    for layer in made.model.layers:
        for module in [*layer.self_attn.children(), *layer.mlp.children(), *layer.children()]:
            if hasattr(module, "weight"):
                module.weight = torch.nn.Parameter(filled(module.weight), requires_grad=False)
    result: LlamaForCausalLM = made.eval()
    return result


if __name__ == "__main__":
    main()
