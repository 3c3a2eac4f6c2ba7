"""FLOPs of a meta-step at 8B shapes, counted on tensors without content: 4 tasks of 6 + 6 examples of 300 tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.parts.llama8b import QUERY, STEPS, SUPPORT, TASKS, head_for, llama_8b, weights_for
from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Algorithm, Episode, Inner, meta_loss
from cogumi.training.body import LlamaBody
from cogumi.training.lora import LoraShape

_TOKENS = 300


def meta_step_tflop(algorithms: list[Algorithm], kind: str = "lm_head_lora") -> dict[Algorithm, float]:
    """10^12 floating-point operations, forward and backward, of one step of each algorithm; rank 16, k = 3."""
    model = llama_8b("meta")
    example = Encoded([1] * _TOKENS, [0] * (_TOKENS // 2) + [1] * (_TOKENS // 2))
    episodes = [Episode(str(task), [example] * SUPPORT, [example] * QUERY) for task in range(TASKS)]
    found = {}
    for algorithm in algorithms:
        body = LlamaBody(model, LoraShape(16, 32), _equal_lengths)
        head = head_for(algorithm, body, kind)
        weights = weights_for(body, head)
        with FlopCounterMode(display=False) as counter:
            loss, _ = meta_loss(body, head, weights, episodes, Inner(algorithm, STEPS, 1.0))
            loss.backward()
        found[algorithm] = counter.get_total_flops() / 1e12
    return found


def _equal_lengths(q_NHK: Tensor, k_NGK: Tensor, v_NGK: Tensor, bounds: Tensor, longest: int) -> Tensor:
    """Attention of examples of one length as a batch: bounds without content cannot be read."""
    q, k, v = (x.unflatten(0, (-1, _TOKENS)).transpose(1, 2) for x in (q_NHK, k_NGK, v_NGK))
    repeat = q.shape[1] // k.shape[1]
    k, v = (torch.repeat_interleave(x, repeat, 1) for x in (k, v))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(0, 1)
