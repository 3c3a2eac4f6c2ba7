"""Answers of a model to prompts, many at once.

    rows = write_answers(target, prompts, Writing(most_tokens=256, temperature=1.0, seed=0), tokenizer)

Most answers are far shorter than the longest, so rows that have ended leave the batch and its cache while the others
go on: at 200 prompts of 64 tokens at most, whose answers have 25 on average, half the work. And chance is drawn ahead,
a number for each row and place, so that an answer follows from its prompt, its number and the seed, whatever else was
in the batch.

Shape suffixes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.lm.model import generation_config
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.training.claim import CACHED_TOKENS
from cogumi.training.fitting import arithmetic

_ROWS_AT_ONCE = {"cuda": 256, "cpu": 64}
_ENDED = 1 / 8  # of a batch's rows: then they leave it, which costs about as much as a token


@dataclass(frozen=True, slots=True)
class Writing:
    """At most so many tokens of answer; temperature 0 takes the most probable one."""

    most_tokens: int
    temperature: float
    seed: int


@torch.no_grad()
def write_answers(
    model: LlamaForCausalLM, prompts: Sequence[list[int]], how: Writing, tokenizer: TrainingTokenizer
) -> list[Encoded]:
    """An answer to each prompt, up to the end of the turn, which is part of it."""
    ends = generation_config(tokenizer).eos_token_id
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    source = torch.Generator().manual_seed(how.seed)
    chance_BT = torch.rand(len(prompts), how.most_tokens, generator=source, dtype=torch.float64)
    found: dict[int, Encoded] = {}
    was_training = model.training
    model.eval()
    with arithmetic(model.device.type):
        for chosen in _at_once(order, prompts, how.most_tokens, _ROWS_AT_ONCE[model.device.type]):
            asked = [prompts[number] for number in chosen]
            answers = continued(model, asked, chance_BT[chosen], how.temperature, ends)
            for number, prompt, answer in zip(chosen, asked, answers, strict=True):
                found[number] = Encoded([*prompt, *answer], [0] * len(prompt) + [1] * len(answer))
    model.train(was_training)
    return [found[number] for number in range(len(prompts))]


def continued(
    model: LlamaForCausalLM, prompts: Sequence[list[int]], chance_BT: Tensor, temperature: float, ends: Sequence[int]
) -> list[list[int]]:
    """The words after each prompt up to one of `ends`, T of them at most, drawn by `chance_BT` from [0, 1). Prompts
    padded in front go in at once, then a word of every row at a time.
    """
    device, longest = model.device, max(map(len, prompts))
    ids_BT = torch.tensor([[ends[0]] * (longest - len(ids)) + ids for ids in prompts], device=device)
    seen_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
    place_BT = (seen_BT.cumsum(-1) - 1).clamp(min=0)
    chance_BT, ends_E = chance_BT.to(device), torch.tensor(ends, device=device)
    going, open_B = list(range(len(prompts))), torch.ones(len(prompts), dtype=torch.bool, device=device)
    answers: list[list[int]] = [[] for _ in prompts]
    cache, run = DynamicCache(config=model.config), model.__call__
    for step in range(chance_BT.shape[1]):
        made: Any = run(
            input_ids=ids_BT, attention_mask=seen_BT, position_ids=place_BT, past_key_values=cache, logits_to_keep=1
        )
        words_B = _drawn(made.logits[:, -1].float(), temperature, chance_BT[:, step])
        for number, word, is_open in zip(going, words_B.tolist(), open_B.tolist(), strict=True):
            if is_open:
                answers[number].append(word)
        open_B = open_B & ~torch.isin(words_B, ends_E)
        left = int(open_B.sum())
        if not left:
            break
        if left <= (1 - _ENDED) * len(going):
            stay = open_B.nonzero()[:, 0]
            cache.batch_select_indices(stay)
            words_B, seen_BT, place_BT, chance_BT = (x[stay] for x in (words_B, seen_BT, place_BT, chance_BT))
            going, open_B = [going[number] for number in stay.tolist()], open_B[stay]
        ids_BT, place_BT = words_B[:, None], place_BT[:, -1:] + 1
        seen_BT = torch.cat([seen_BT, seen_BT.new_ones(len(going), 1)], -1)
    return answers


def _drawn(logits_BV: Tensor, temperature: float, chance_B: Tensor) -> Tensor:
    """The word of each row up to which probabilities add up to its chance, or the most probable one: B."""
    if not temperature:
        return logits_BV.argmax(-1)
    below_BV = (logits_BV / temperature).softmax(-1).double().cumsum(-1)
    found_B1 = torch.searchsorted(below_BV, chance_B[:, None] * below_BV[:, -1:], right=True)
    return found_B1[:, 0].clamp(max=logits_BV.shape[-1] - 1)


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
