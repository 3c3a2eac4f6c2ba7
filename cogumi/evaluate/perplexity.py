"""Perplexity of many responses from the likelihood of each. It needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

READ_TOKENS = {"cuda": 16384, "cpu": 4096}
"""Tokens that are read at once, unless one row is longer."""
CHUNK_ROWS = 1024
"""Response tokens whose logits are held at once."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """-log p of a response in nats, and how many tokens it is of."""

    nats: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Total:
    """Of many rows, every token alike: nats per token, perplexity, and bits per byte of text, which does not depend on
    the tokenizer.
    """

    nll: float
    ppl: float
    bits_per_byte: float
    tokens: int


def total(parts: Iterable[tuple[float, int, int]]) -> Total | None:
    """Of (nats, tokens, bytes of the response); None of nothing."""
    listed = list(parts)
    tokens = sum(count for _, count, _ in listed)
    if not tokens:
        return None
    nats, size = math.fsum(each for each, _, _ in listed), sum(each for _, _, each in listed)
    nll = nats / tokens
    ppl = math.exp(nll) if nll < 700 else math.inf
    return Total(nll, ppl, nats / math.log(2) / size if size else math.inf, tokens)
