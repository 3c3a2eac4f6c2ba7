"""Candidates: models that are validated, each opened for as long as it is asked.

with open_candidate(Candidate("merged", "runs/demo/merged"), "cpu") as opened:
    opened.read(rows)                    # likelihoods
    opened.model, opened.tokenizer       # transformers' own, to write with
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from cogumi.errors import InputError
from cogumi.evaluate.likelihood import Packed, read_options, read_packed, read_padded
from cogumi.evaluate.perplexity import Likelihood
from cogumi.evaluate.request import Candidate
from cogumi.lm.chat import Encoded
from cogumi.lm.model import load_chat_tokenizer, load_llama, model_folder
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.store.files import read_json
from cogumi.training.adapt import as_trained
from cogumi.training.adaptable import Adaptable, open_adaptable
from cogumi.training.adapters import model_hashes
from cogumi.training.body import LlamaBody
from cogumi.training.head import OutputHead
from cogumi.training.lora import LoraShape

_NO_LORA = LoraShape(1, 1)


@dataclass(frozen=True, slots=True)
class Opened:
    """A candidate in memory. `packed` is None where its layers are not those that packs go through."""

    model: LlamaForCausalLM
    tokenizer: TrainingTokenizer
    packed: Packed | None
    dtype: str

    @property
    def longest(self) -> int:
        """Tokens that it takes at most."""
        return int(self.model.config.max_position_embeddings)

    def read(self, rows: Sequence[Encoded], budget: int | None = None) -> list[Likelihood]:
        """Likelihoods of responses, packed where that can be."""
        return read_padded(self.model, rows) if self.packed is None else read_packed(self.packed, rows, budget)

    def choose(
        self, prompts: Sequence[list[int]], options: Sequence[list[list[int]]], budget: int | None = None
    ) -> list[list[float]]:
        """Nats of each option, one or more tokens, by prompt. Options of one token are read together."""
        if self.packed is not None and all(len(words) == 1 for each in options for words in each):
            return read_options(self.packed, prompts, [[words[0] for words in each] for each in options], budget)
        rows = [
            Encoded([*ids, *words], [0] * len(ids) + [1] * len(words))
            for ids, each in zip(prompts, options, strict=True)
            for words in each
        ]
        read = iter(self.read(rows, budget))
        return [[next(read).nats for _ in each] for each in options]


@contextmanager
def open_candidate(candidate: Candidate, device: str, dtype: torch.dtype | None = None) -> Iterator[Opened]:
    """In bf16 on a GPU and fp32 elsewhere, unless another is given.

    Raises InputError adapter-unreadable, and as load_llama and load_chat_tokenizer.
    """
    dtype = dtype or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
    place = model_folder(candidate.source, candidate.revision)
    tokenizer = load_chat_tokenizer(place, int(read_json(place / "config.json")["vocab_size"]))
    told = str(dtype).removeprefix("torch.")
    if not candidate.adapter:
        model = load_llama(str(place), dtype, device)
        yield Opened(model, tokenizer, _packed(model), told)
        return
    of = open_adaptable(str(place), Path(candidate.adapter), dtype, device)
    with as_trained(of) as model:
        yield Opened(model, tokenizer, _packed_adapter(of), told)


def hashes_of(candidate: Candidate) -> dict[str, dict[str, str]]:
    """SHA-256 of every file that it is made of. Raises as model_folder."""
    found = {"model": model_hashes(model_folder(candidate.source, candidate.revision))}
    return {**found, "adapter": model_hashes(Path(candidate.adapter))} if candidate.adapter else found


def _packed(model: LlamaForCausalLM) -> Packed | None:
    """None for a Llama with biases."""
    try:
        return Packed(LlamaBody(model, _NO_LORA))
    except InputError:
        return None


def _packed_adapter(of: Adaptable) -> Packed:
    head: Any = of.head
    if not isinstance(head, OutputHead):
        return Packed(of.body, of.body.prepared({**of.weights.slow, **of.weights.head}))
    a_LD, b_VL = head.low(of.weights.head)
    return Packed(of.body, of.body.prepared(of.weights.slow), (a_LD, b_VL, head.scale))
