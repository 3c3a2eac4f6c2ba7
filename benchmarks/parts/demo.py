"""The target of recipe `demo`: its shapes with random weights."""

from __future__ import annotations

from transformers import LlamaConfig, LlamaForCausalLM

from cogumi.training.pretrain import new_llama

_DEMO = LlamaConfig(
    vocab_size=4096, hidden_size=192, intermediate_size=528, num_hidden_layers=4, num_attention_heads=6,
    num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
)  # fmt: skip


def demo_llama() -> LlamaForCausalLM:
    """In fp32 on the CPU, frozen; always the same."""
    return new_llama(_DEMO, 0).requires_grad_(False)
