"""Attention within the examples of a pack: causal, grouped-query, and never from one example to another.

`varlen` is flash attention (a GPU, one derivative, the same bits each time). `by_example` calls
scaled_dot_product_attention example by example (any device, one derivative). `plain` is softmax(QK'/sqrt(d))V as it is
written (Vaswani et al. 2017, equation 1): any number of derivatives, and the oracle of the other two.

Shape suffixes: N tokens, H query heads, G key and value heads, K width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cogumi.training.flash import packed_attention

Attention = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""(queries NHK, keys NGK, values NGK, bounds of the segments, tokens of the longest) -> NHK"""


def varlen(queries_NHK: Tensor, keys_NGK: Tensor, values_NGK: Tensor, bounds: Tensor, longest: int) -> Tensor:
    """One kernel for all examples: 16-bit floats on a GPU."""
    attended: Tensor = packed_attention(queries_NHK, keys_NGK, values_NGK, bounds, longest)[0]
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


def for_windows(attention: Attention) -> Callable[..., tuple[Tensor, None]]:
    """The same for transformers' models, which hand over windows of one length: BHTK, BGTK, BGTK -> BTHK.

    For training: windows without padding, one after the other, and no keys of earlier calls.
    """

    def attend(module: Any, queries: Tensor, keys: Tensor, values: Tensor, mask: None, **_: Any) -> tuple[Tensor, None]:
        assert mask is None and queries.shape[2] == keys.shape[2], "windows are whole"
        count, length = queries.shape[0], queries.shape[2]
        bounds = torch.arange(0, count * length + 1, length, dtype=torch.int32, device=queries.device)
        q, k, v = (part.transpose(1, 2).flatten(0, 1).to(values.dtype) for part in (queries, keys, values))
        return attention(q, k, v, bounds, length).unflatten(0, (count, length)), None

    return attend


def _segments(bounds: Tensor) -> Iterator[slice]:
    for start, end in pairwise(bounds.tolist()):
        yield slice(start, end)
