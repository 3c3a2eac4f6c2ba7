"""Llama-3.1-8B's shapes with random weights, and batches of examples with the lengths of the specification's data."""

from __future__ import annotations

from random import Random

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Algorithm, Episode, MetaWeights, new_weights
from cogumi.training.body import LlamaBody
from cogumi.training.head import Head, LastLayers, OutputHead

VOCABULARY = 128_256
TASKS, SUPPORT, QUERY, STEPS = 4, 6, 6, 3
_HARD_SHARE = 0.013


def llama_8b(device: str) -> LlamaForCausalLM:
    """In bf16; on the device `meta` it has shapes alone."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    )  # fmt: skip
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model: LlamaForCausalLM = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(kept)
    model.requires_grad_(False)
    return model


def batches(count: int) -> list[list[Episode]]:
    """98.7% easy examples of 35 to 190 tokens and 1.3% hard ones of about 750; always the same."""
    rng = Random(0)

    def example() -> Encoded:
        hard = rng.random() < _HARD_SHARE
        prompt, response = (100, rng.randint(500, 800)) if hard else (rng.randint(15, 70), rng.randint(20, 120))
        return Encoded([rng.randrange(128_000) for _ in range(prompt + response)], [0] * prompt + [1] * response)

    def episode(task: int) -> Episode:
        return Episode(str(task), [example() for _ in range(SUPPORT)], [example() for _ in range(QUERY)])

    return [[episode(task) for task in range(TASKS)] for _ in range(count)]


def head_for(algorithm: Algorithm, body: LlamaBody, kind: str = "lm_head_lora") -> Head:
    return LastLayers(body, 0) if algorithm.all_fast else OutputHead(body, 16, 32, on_hidden=kind == "final_hidden")


def weights_for(body: LlamaBody, head: Head) -> MetaWeights:
    """Fresh ones, rank 16, that all require gradients."""
    weights = new_weights(body, head, STEPS, 0.1, seed=0)
    for part in (weights.slow, weights.head, weights.rates):
        for tensor in part.values():
            tensor.requires_grad_()
    return weights
