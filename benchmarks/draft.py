"""What a draft's training spends its time on: the loss over all words, answers written, and threads that wait.

At a draft of 1B for Llama-3.1's words and at 8B with random weights on a GPU, elsewhere at the demo's sizes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from benchmarks.measuring import Figure, report
from benchmarks.parts.demo import demo_llama
from benchmarks.parts.llama8b import VOCABULARY, llama_8b
from cogumi.training import stopping
from cogumi.training.fitting import arithmetic, hidden_of, output_loss
from cogumi.training.output_loss import chunked_loss, cross_entropy_of
from cogumi.training.pretrain import new_llama
from cogumi.training.writing import Writing, continued

_SHORTEST, _LONGEST, _MEAN_ANSWER = 20, 200, 25


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    gpu = torch.cuda.is_available()
    device, times = "cuda" if gpu else "cpu", 3 if quick else 9
    places, words, width = (4096, VOCABULARY, 2048) if gpu else (966, 4096, 96)
    rows, longest = (256, 128) if gpu else (64, 64)
    figures = _losses(places, words, width, device, times)
    model = llama_8b("cuda") if gpu else demo_llama()
    times_written = 1 if gpu else 3
    figures += _writing(model.eval(), rows, longest, times_written)
    del model
    if not gpu:
        figures += _threads(times)
    settings: dict[str, Any] = {
        "places": places, "words": words, "width": width, "rows": rows, "most_tokens": longest,
        "mean_tokens_of_an_answer": _MEAN_ANSWER, "times": times, "times_written": times_written,
    }  # fmt: skip
    report("draft", figures, settings, save=save, table=table)


def _losses(places: int, words: int, width: int, device: str, times: int) -> list[Figure]:
    """Forward and backward of the cross-entropy, from what the output matrix reads to both gradients."""
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(places, width, generator=source).to(device).requires_grad_()
    matrix = (0.1 * torch.randn(words, width, generator=source)).to(device).requires_grad_()
    tokens = torch.randint(0, words, (places,), generator=source).to(device)

    def plain() -> Tensor:
        with arithmetic(device):
            logits = functional.linear(hidden, matrix)
        return functional.cross_entropy(logits.float(), tokens)

    def chunked() -> Tensor:
        return chunked_loss(hidden.bfloat16() if device == "cuda" else hidden, matrix, cross_entropy_of(tokens))

    def both(loss: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(), (hidden, matrix))

    apart = max(
        float((one - other).abs().max() / other.abs().max())
        for one, other in zip(both(chunked), both(plain), strict=True)
    )
    seconds = _alternately({"plain": lambda: both(plain), "chunked": lambda: both(chunked)}, times)
    figures = [Figure(f"loss, {name}", took, "s") for name, took in seconds.items()]
    figures.append(Figure("loss, plain / chunked", seconds["plain"] / seconds["chunked"], "ratio"))
    figures.append(Figure("gradients, largest difference", apart, "ratio", high=2e-2 if device == "cuda" else 1e-5))
    if device == "cuda":
        peaks = {name: _peak(lambda loss=loss: both(loss)) for name, loss in (("plain", plain), ("chunked", chunked))}  # type: ignore[misc]
        figures += [Figure(f"loss, {name}: memory above its inputs", peak, "GiB") for name, peak in peaks.items()]
        figures.append(Figure("memory, plain / chunked", peaks["plain"] / peaks["chunked"], "ratio", low=2.0))
    return figures


def _writing(model: LlamaForCausalLM, rows: int, longest: int, times: int) -> list[Figure]:
    """Sampled answers to four batches of prompts. Random weights end nothing, so one word in 25 counts as an end:
    lengths are geometric.
    """
    rng, words = Random(0), int(model.config.vocab_size)
    lengths = sorted(rng.randint(_SHORTEST, _LONGEST) for _ in range(4 * rows))
    prompts = [[rng.randrange(words) for _ in range(length)] for length in lengths]
    ends = rng.sample(range(words), words // _MEAN_ANSWER)
    written: dict[str, int] = {}

    def ours() -> None:
        written["ours"] = sum(map(len, continued(model, prompts, Writing(longest, 1.0, 0), ends)))

    def theirs() -> None:
        torch.manual_seed(0)
        batches = [prompts[start : start + rows] for start in range(0, len(prompts), rows)]
        written["theirs"] = sum(_generated(model, batch, longest, ends) for batch in batches)

    seconds = _alternately({"ours": ours, "theirs": theirs}, times)
    each = {name: 1e3 * took / written[name] for name, took in seconds.items()}
    return [
        Figure("writing, transformers' generate: a token", each["theirs"], "ms"),
        Figure("writing, ended rows make place: a token", each["ours"], "ms"),
        Figure("writing, generate / ours", each["theirs"] / each["ours"], "ratio", low=1.5),
    ]


def _generated(model: LlamaForCausalLM, prompts: list[list[int]], longest: int, ends: list[int]) -> int:
    """Tokens of the answers, ends counted, that transformers writes to a batch that is padded in front."""
    config = GenerationConfig(
        max_new_tokens=longest, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=ends,
        pad_token_id=ends[0],
    )  # fmt: skip
    most, writer, device = max(map(len, prompts)), cast(Any, model), model.device
    ids = torch.tensor([[ends[0]] * (most - len(prompt)) + prompt for prompt in prompts], device=device)
    seen = torch.tensor([[0] * (most - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    made = writer.generate(input_ids=ids, attention_mask=seen, generation_config=config)[:, most:]
    ended = torch.isin(made, torch.tensor(ends, device=device)).int().cumsum(-1)
    return int((ended == 0).sum()) + int((ended[:, -1] > 0).sum())


def _threads(times: int) -> list[Figure]:
    """Steps of a small model in the thread of `interruptible`, after the waiting thread has used OpenMP itself."""
    config = LlamaConfig(
        vocab_size=1024, hidden_size=96, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    model = new_llama(config, 0).train()
    ids = torch.randint(0, 1024, (8, 64), generator=torch.Generator().manual_seed(0))
    some = torch.ones(1 << 20)

    def steps(stop: stopping.Stop) -> None:
        for _ in range(30):
            hidden = hidden_of(model, ids[:, :-1]).flatten(0, 1)
            output_loss(model, hidden, cross_entropy_of(ids[:, 1:].flatten())).backward()

    def waited(gives_up: Callable[[], None]) -> Callable[[], None]:
        def one() -> None:
            torch.add(some, some)
            kept, stopping.give_up_team = stopping.give_up_team, gives_up
            try:
                stopping.interruptible(steps)
            finally:
                stopping.give_up_team = kept

        return one

    seconds = _alternately({"kept": waited(lambda: None), "given up": waited(stopping.give_up_team)}, times)
    figures = [Figure(f"30 small steps, the waiting thread's team {name}", took, "s") for name, took in seconds.items()]
    return [*figures, Figure("team kept / given up", seconds["kept"] / seconds["given up"], "ratio")]


def _alternately(steps: dict[str, Callable[[], object]], times: int) -> dict[str, float]:
    """The median of each, after one that is not counted; in turn, so that a busy machine is busy for all."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(times + 1):
        for name, step in steps.items():
            _wait()
            began = time.perf_counter()
            step()
            _wait()
            if turn:
                found[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in found.items()}


def _peak(step: Callable[[], object]) -> float:
    """GiB above what was held before."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
