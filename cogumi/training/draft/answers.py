"""What a model writes itself, and what it thinks of texts: the material of distillation.

    rows = write_answers(target, prompts, Writing(most_tokens=256, temperature=1.0, seed=0), tokenizer)
    soft = read_softly(target, rows, keep=64)

Shape suffixes: B rows, T tokens, N places of responses, V vocabulary, D width, K words kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.lm.model import generation_config
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.training.claim import CACHED_TOKENS
from cogumi.training.draft.divergence import Soft, soften
from cogumi.training.fitting import arithmetic, fixed_attention, hidden_of, logits_of

_ROWS_AT_ONCE = {"cuda": 256, "cpu": 64}
_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Writing:
    """At most so many tokens of answer; temperature 0 takes the most probable one."""

    most_tokens: int
    temperature: float
    seed: int


def prompt_of(row: Encoded) -> list[int]:
    """The tokens before the first one that the loss is on."""
    return row.ids[: row.mask.index(1)] if 1 in row.mask else row.ids


@torch.no_grad()
def write_answers(
    model: LlamaForCausalLM, prompts: Sequence[list[int]], how: Writing, tokenizer: TrainingTokenizer
) -> list[Encoded]:
    """An answer to each prompt, up to the end of the turn, which is part of it."""
    ends = generation_config(tokenizer).eos_token_id
    pad = ends[0]
    sampling = {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": 1.0}
    config = GenerationConfig(
        max_new_tokens=how.most_tokens, eos_token_id=ends, pad_token_id=pad, bos_token_id=tokenizer.bos,
        **(sampling if how.temperature else {"do_sample": False}),
    )  # fmt: skip
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    found: dict[int, Encoded] = {}
    writer: Any = model
    was_training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), arithmetic(model.device.type):
        torch.manual_seed(how.seed)
        for chosen in _at_once(order, prompts, how.most_tokens, _ROWS_AT_ONCE[model.device.type]):
            longest = len(prompts[chosen[-1]])
            ids_BT = torch.full((len(chosen), longest), pad)
            seen_BT = torch.zeros_like(ids_BT)
            for place, number in enumerate(chosen):
                ids_BT[place, longest - len(prompts[number]) :] = torch.tensor(prompts[number])
                seen_BT[place, longest - len(prompts[number]) :] = 1
            written = writer.generate(
                input_ids=ids_BT.to(model.device), attention_mask=seen_BT.to(model.device), generation_config=config
            )
            for number, ids in zip(chosen, written[:, longest:].tolist(), strict=True):
                answer = ids[: next((place + 1 for place, word in enumerate(ids) if word in ends), len(ids))]
                prompt = prompts[number]
                found[number] = Encoded([*prompt, *answer], [0] * len(prompt) + [1] * len(answer))
    model.train(was_training)
    return [found[number] for number in range(len(prompts))]


def _at_once(order: list[int], prompts: Sequence[list[int]], most_tokens: int, rows: int) -> Iterator[list[int]]:
    """Prompts from the shortest on, so many rows and so many tokens of cache together."""
    chosen: list[int] = []
    for number in order:
        if chosen and (len(chosen) == rows or (len(chosen) + 1) * (len(prompts[number]) + most_tokens) > CACHED_TOKENS):
            yield chosen
            chosen = []
        chosen.append(number)
    if chosen:
        yield chosen


def response_logits(model: LlamaForCausalLM, rows: Sequence[Encoded]) -> Tensor:
    """The logits that each response token was drawn from, row after row: NV. Differentiable."""
    longest = max(len(row.ids) for row in rows)
    ids_BT = torch.zeros((len(rows), longest), dtype=torch.long)
    asked_BT = torch.zeros((len(rows), longest), dtype=torch.bool)
    for place, row in enumerate(rows):
        ids_BT[place, : len(row.ids)] = torch.tensor(row.ids)
        asked_BT[place, : len(row.mask)] = torch.tensor(row.mask, dtype=torch.bool)
    hidden_BTD = hidden_of(model, ids_BT[:, :-1].to(model.device))
    return logits_of(model, hidden_BTD[asked_BT[:, 1:].to(model.device)])


def response_tokens(rows: Sequence[Encoded]) -> Tensor:
    """The response tokens, row after row: N."""
    return torch.tensor([word for row in rows for word, asked in zip(row.ids, row.mask, strict=True) if asked])


@torch.no_grad()
def response_logits_by_row(model: LlamaForCausalLM, rows: Sequence[Encoded]) -> Iterator[tuple[int, Tensor]]:
    """(number of the row, its response logits NV on the model's device), rows of like length together."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    was_training = model.training
    model.eval()
    with fixed_attention(model):
        while order:
            longest = len(rows[order[-1]].ids)
            count = max(1, _TOKENS_AT_ONCE // longest)
            chosen, order = order[-count:], order[:-count]
            logits_NV = response_logits(model, [rows[number] for number in chosen])
            sizes = [sum(rows[number].mask) for number in chosen]
            yield from zip(chosen, logits_NV.split(sizes), strict=True)
    model.train(was_training)


def read_softly(model: LlamaForCausalLM, rows: Sequence[Encoded], keep: int) -> list[Soft]:
    """What a model would have written at each place of the responses: `keep` words and the rest, on the CPU."""
    found: dict[int, Soft] = {}
    for number, logits_NV in response_logits_by_row(model, rows):
        soft = soften(logits_NV, keep).to("cpu")
        found[number] = Soft(soft.words_NK.int(), soft.log_p_NK.half(), soft.log_rest_N)
    return [found[number] for number in range(len(rows))]
