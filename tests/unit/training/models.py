"""Small Llamas and examples for the tests of training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils import deterministic as filling
from transformers import LlamaConfig, LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.lm.model import load_llama
from cogumi.training.algorithms import Episode, MetaWeights
from cogumi.training.body import LlamaBody
from cogumi.training.head import Head, LastLayers, OutputHead
from cogumi.training.inner import new_rates
from cogumi.training.lora import MODULES, LoraShape, Weights, layer_of, new_lora
from cogumi.training.pretrain import new_llama

VOCABULARY = 97


def llama(
    dtype: torch.dtype = torch.float64, layers: int = 3, scaled: bool = False, head_width: int = 8
) -> LlamaForCausalLM:
    """Width 32, four query heads over two of keys; `scaled`: with the positions of Llama 3.1."""
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    if scaled:
        rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 16}  # fmt: skip
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, head_dim=head_width, max_position_embeddings=64, tie_word_embeddings=False, rope_parameters=rope,
        initializer_range=0.3,
    )  # fmt: skip
    model: LlamaForCausalLM = new_llama(config, seed=1).to(dtype)
    return model


def example(number: int, prompt: int = 4, response: int = 5) -> Encoded:
    chance = torch.Generator().manual_seed(number)
    ids = torch.randint(1, VOCABULARY, (prompt + response,), generator=chance).tolist()
    return Encoded(ids, [0] * prompt + [1] * response)


def episode(number: int, examples: int = 3) -> Episode:
    """Lengths differ, so that a mean over rows is not one over examples."""
    at = 100 * number
    made = [example(at + n, prompt=2 + (at + n) % 4, response=3 + (number + n) % 5) for n in range(2 * examples)]
    return Episode(f"task-{number}", made[:examples], made[examples:])


def stirred(weights: Weights, seed: int, size: float = 0.1) -> Weights:
    """Every weight with noise, in fp64: as after some training, B no longer zero."""
    chance = torch.Generator().manual_seed(seed)

    def noisy(weight: Tensor) -> Tensor:
        noise = torch.randn(weight.shape, dtype=torch.float64, generator=chance)
        return (weight.double() + size * noise).requires_grad_()

    return {name: noisy(weight) for name, weight in weights.items()}


def adapter(
    base: Path, kind: str, modules: tuple[str, ...] = MODULES, arithmetic: torch.dtype = torch.float32
) -> tuple[LlamaBody, Head, MetaWeights]:
    """A body on the model of a folder, one of four heads, and weights as after some training."""
    body = LlamaBody(load_llama(str(base), arithmetic, "cpu"), LoraShape(4, 8, modules=modules))
    heads: dict[str, Head] = {
        "lm_head_lora": OutputHead(body, 3, 9), "final_hidden": OutputHead(body, 3, 9, on_hidden=True),
        "last_layers": LastLayers(body, 1), "all": LastLayers(body, 0),
    }  # fmt: skip
    head = heads[kind]

    def noisy(weights: Weights, seed: int) -> Weights:
        return {name: w.float().detach() for name, w in stirred(weights, seed).items()}

    slow = {n: w for n, w in noisy(new_lora(body.config, body.shape, 0), 5).items() if layer_of(n) < head.cut}
    fast = noisy(head.new(1), 6)
    return body, head, MetaWeights(slow, fast, new_rates(fast, 3, 0.1))


def switches() -> tuple[int, bool]:
    return torch.get_deterministic_debug_mode(), filling.fill_uninitialized_memory
