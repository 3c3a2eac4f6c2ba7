"""Answers of a model to prompts, many at once.

    rows = write_answers(target, prompts, Writing(most_tokens=256, temperature=1.0, seed=0), tokenizer)

Most answers are far shorter than the longest. A row that has ended leaves the batch, and a prompt that waits takes its
place, so that the last word of the longest answer is not waited for by a batch of others (continuous batching, Yu et
al. 2022, Orca, section 3). And chance is drawn ahead, a number for each row and place, so that an answer follows from
its prompt, its number and the seed, whatever else was in the batch.

Shape suffixes: B rows of a batch, N of all, T tokens, G key heads, K width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.lm.model import generation_config
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.phases import report_phase
from cogumi.training.claim import CACHED_TOKENS
from cogumi.training.fitting import arithmetic

_ROWS_AT_ONCE = {"cuda": 256, "cpu": 64}
_ENDED = 1 / 4  # of the rows: then they leave and others come, which costs a copy of the cache and a step


@dataclass(frozen=True, slots=True)
class Writing:
    """At most so many tokens of answer; temperature 0 takes the most probable one."""

    most_tokens: int
    temperature: float
    seed: int


def write_answers(
    model: LlamaForCausalLM, prompts: Sequence[list[int]], how: Writing, tokenizer: TrainingTokenizer
) -> list[Encoded]:
    """An answer to each prompt, up to the end of the turn, which is part of it."""
    was_training = model.training
    model.eval()
    with arithmetic(model.device.type):
        answers = continued(model, prompts, how, generation_config(tokenizer).eos_token_id)
    model.train(was_training)
    return [
        Encoded([*prompt, *answer], [0] * len(prompt) + [1] * len(answer))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


@torch.no_grad()
def continued(
    model: LlamaForCausalLM, prompts: Sequence[list[int]], how: Writing, ends: Sequence[int]
) -> list[list[int]]:
    """The words after each prompt, up to one of `ends`, which is the last, or as many as are asked for. `model` is one
    that is not training.
    """
    rows = _ROWS_AT_ONCE[model.device.type]
    source = torch.Generator().manual_seed(how.seed)
    chance_NT = torch.rand(len(prompts), how.most_tokens, generator=source, dtype=torch.float64).to(model.device)
    last = set(ends)
    waiting = sorted(range(len(prompts)), key=lambda number: len(prompts[number]), reverse=True)  # the next is the last
    answers: list[list[int]] = [[] for _ in prompts]
    batch = _Batch.empty(model)

    def drawn(some: _Batch, logits_BV: Tensor) -> None:
        """A word of each row."""
        written_B1 = torch.tensor([[len(answers[number])] for number in some.numbers], device=model.device)
        chance_B1 = chance_NT[some.numbers].gather(1, written_B1.clamp(max=how.most_tokens - 1))
        some.words_B = _drawn(logits_BV, how.temperature, chance_B1)
        for place, (number, word) in enumerate(zip(some.numbers, some.words_B.tolist(), strict=True)):
            if some.open[place]:
                answers[number].append(word)
                some.open[place] = word not in last and len(answers[number]) < how.most_tokens

    while waiting or any(batch.open):
        report_phase("answers", len(prompts) - len(waiting) - sum(batch.open), len(prompts), "prompts")
        if not any(batch.open):
            batch = _Batch.empty(model)
        elif sum(batch.open) <= (1 - _ENDED) * len(batch.numbers) or batch.is_full:
            batch.drop_ended()
        chosen = _next(waiting, batch, prompts, how.most_tokens, rows)
        if chosen:
            logits_BV, new = _Batch.begun(model, chosen, [prompts[number] for number in chosen])
            drawn(new, logits_BV)
            batch.join(new)
        else:
            drawn(batch, batch.step(model))
    return answers


@dataclass(slots=True)
class _Batch:
    """Rows under way: their numbers, whether each goes on, what they have in the cache, and their last words."""

    numbers: list[int]
    open: list[bool]
    cache: DynamicCache
    seen_BT: Tensor
    place_B: Tensor
    words_B: Tensor

    @staticmethod
    def empty(model: LlamaForCausalLM) -> _Batch:
        """No rows."""
        none = torch.zeros(0, dtype=torch.long, device=model.device)
        return _Batch([], [], DynamicCache(config=model.config), none[:, None], none, none)

    @staticmethod
    def begun(model: LlamaForCausalLM, numbers: list[int], prompts: Sequence[list[int]]) -> tuple[Tensor, _Batch]:
        """Prompts, padded in front, go in at once: the logits of the next words (BV), and the batch."""
        device, longest = model.device, max(map(len, prompts))
        ids_BT = torch.tensor([[0] * (longest - len(ids)) + ids for ids in prompts], device=device)
        seen_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
        made = _Batch.empty(model)
        made.numbers, made.open, made.seen_BT = numbers, [True] * len(numbers), seen_BT
        place_BT = (seen_BT.cumsum(-1) - 1).clamp(min=0)
        made.place_B = place_BT[:, -1]
        return made._logits(model, ids_BT, place_BT), made

    @property
    def is_full(self) -> bool:
        """Another token of each row would be one too many; what nobody has seen any more can go."""
        return len(self.numbers) > 1 and len(self.numbers) * (self.seen_BT.shape[1] + 1) > CACHED_TOKENS

    def step(self, model: LlamaForCausalLM) -> Tensor:
        """The last words go in: the logits of the next ones, BV."""
        self.seen_BT = pad(self.seen_BT, (0, 1), value=1)
        self.place_B = self.place_B + 1
        return self._logits(model, self.words_B[:, None], self.place_B[:, None])

    def drop_ended(self) -> None:
        """Rows that go on stay, one at least, and of the cache what one of them has seen."""
        stay = [place for place, is_open in enumerate(self.open) if is_open]
        self.numbers, self.open = [self.numbers[place] for place in stay], [True] * len(stay)
        self.seen_BT, self.place_B, self.words_B = self.seen_BT[stay], self.place_B[stay], self.words_B[stay]
        longest = int(self.place_B.max()) + 1
        self.seen_BT = self.seen_BT[:, self.seen_BT.shape[1] - longest :]
        for layer in _layers(self.cache):
            layer.keys, layer.values = (x[stay, :, x.shape[2] - longest :] for x in (layer.keys, layer.values))

    def join(self, other: _Batch) -> None:
        """The other's rows are its own from now on; the shorter cache is padded in front."""
        if not self.numbers:
            self.cache, self.seen_BT = other.cache, other.seen_BT
        else:
            longest = max(self.seen_BT.shape[1], other.seen_BT.shape[1])
            self.seen_BT = torch.cat([pad(x.seen_BT, (longest - x.seen_BT.shape[1], 0)) for x in (self, other)])
            for mine, theirs in zip(_layers(self.cache), _layers(other.cache), strict=True):
                mine.keys = torch.cat([_in_front(x, longest) for x in (mine.keys, theirs.keys)])
                mine.values = torch.cat([_in_front(x, longest) for x in (mine.values, theirs.values)])
        self.numbers, self.open = self.numbers + other.numbers, self.open + other.open
        self.place_B = torch.cat([self.place_B, other.place_B])
        self.words_B = torch.cat([self.words_B, other.words_B])

    def _logits(self, model: LlamaForCausalLM, ids_BT: Tensor, place_BT: Tensor) -> Tensor:
        run: Any = model
        made = run(
            input_ids=ids_BT, attention_mask=self.seen_BT, position_ids=place_BT, past_key_values=self.cache,
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        logits_BV: Tensor = made.logits[:, -1].float()
        return logits_BV


def _layers(cache: DynamicCache) -> list[Any]:
    """Of each layer `keys` and `values`: BGTK."""
    return list(cache.layers)


def _in_front(held_BGTK: Tensor, length: int) -> Tensor:
    return pad(held_BGTK, (0, 0, length - held_BGTK.shape[2], 0))


def _drawn(logits_BV: Tensor, temperature: float, chance_B1: Tensor) -> Tensor:
    """The word of each row up to which probabilities add up to its chance, or the most probable one: B."""
    if not temperature:
        return logits_BV.argmax(-1)
    below_BV = (logits_BV / temperature).softmax(-1).double().cumsum(-1)
    found_B1 = torch.searchsorted(below_BV, chance_B1 * below_BV[:, -1:], right=True)
    return found_B1[:, 0].clamp(max=logits_BV.shape[-1] - 1)


def _next(waiting: list[int], batch: _Batch, prompts: Sequence[list[int]], most_tokens: int, rows: int) -> list[int]:
    """Taken from those that wait, the shortest first, where a share of the rows is free: so many rows and so many
    tokens of cache together; one alone always fits.
    """
    chosen: list[int] = []
    if len(batch.numbers) > (1 - _ENDED) * rows:
        return chosen
    while waiting and len(batch.numbers) + len(chosen) < rows:
        count = len(batch.numbers) + len(chosen) + 1
        if count > 1 and count * (len(prompts[waiting[-1]]) + most_tokens) > CACHED_TOKENS:
            break
        chosen.append(waiting.pop())
    return chosen
