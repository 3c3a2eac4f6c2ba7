"""Attention within the examples of a pack: causal, grouped-query, and never from one example to another.

`varlen` is torch's kernel for packed sequences (flash attention; a GPU, one derivative). `by_example` calls
scaled_dot_product_attention example by example (any device, one derivative). `plain` is softmax(QK'/sqrt(d))V as it is
written (Vaswani et al. 2017, equation 1): any number of derivatives, and the oracle of the other two.

Shape suffixes: N tokens, H query heads, G key and value heads, K width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

Attention = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""(queries NHK, keys NGK, values NGK, bounds of the segments, tokens of the longest) -> NHK"""


def varlen(queries_NHK: Tensor, keys_NGK: Tensor, values_NGK: Tensor, bounds: Tensor, longest: int) -> Tensor:
    """torch.nn.attention.varlen: 16-bit floats on a GPU."""
    attended: Tensor = _KERNEL(queries_NHK, keys_NGK, values_NGK, bounds, bounds, longest, longest)
    return attended


def by_example(queries_NHK: Tensor, keys_NGK: Tensor, values_NGK: Tensor, bounds: Tensor, longest: int) -> Tensor:
    """torch's scaled_dot_product_attention on each example."""
    found = []
    for cut in _segments(bounds):
        q_HNK, k_GNK, v_GNK = (x[cut].transpose(0, 1)[None] for x in (queries_NHK, keys_NGK, values_NGK))
        attended = functional.scaled_dot_product_attention(q_HNK, k_GNK, v_GNK, is_causal=True, enable_gqa=True)
        found.append(attended[0].transpose(0, 1))
    return torch.cat(found)


def plain(queries_NHK: Tensor, keys_NGK: Tensor, values_NGK: Tensor, bounds: Tensor, longest: int) -> Tensor:
    """Every operation by itself, so that autograd can go through it as often as it is asked to."""
    repeat = queries_NHK.shape[1] // keys_NGK.shape[1]
    scale = 1 / math.sqrt(queries_NHK.shape[-1])
    found = []
    for cut in _segments(bounds):
        q_HNK = queries_NHK[cut].transpose(0, 1)
        k_HNK, v_HNK = (x[cut].transpose(0, 1).repeat_interleave(repeat, dim=0) for x in (keys_NGK, values_NGK))
        scores_HNN = q_HNK @ k_HNK.transpose(1, 2) * scale
        later = torch.ones(scores_HNN.shape[1:], dtype=torch.bool, device=scores_HNN.device).triu(1)
        found.append((scores_HNN.masked_fill(later, -math.inf).softmax(-1) @ v_HNK).transpose(0, 1))
    return torch.cat(found)


def _causal_kernel() -> Callable[..., Any]:
    """torch 2.10 to 2.13 differ in how the kernel is told to be causal, and that keys have fewer heads."""
    takes = signature(varlen_attn).parameters
    more: dict[str, Any] = {"is_causal": True} if "is_causal" in takes else {"window_size": (-1, 0)}
    if "enable_gqa" in takes:
        more["enable_gqa"] = True
    return partial(varlen_attn, **more)


_KERNEL = _causal_kernel()


def _segments(bounds: Tensor) -> Iterator[slice]:
    for start, end in pairwise(bounds.tolist()):
        yield slice(start, end)
