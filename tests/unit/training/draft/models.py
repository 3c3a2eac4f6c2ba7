"""A tokenizer of its own with a target and a draft that speak it."""

from __future__ import annotations

from functools import cache

from transformers import LlamaConfig, LlamaForCausalLM

from cogumi.lm.tokenizer import TrainingTokenizer, train_tokenizer
from cogumi.training.pretrain import new_llama


@cache
def tokenizer() -> TrainingTokenizer:
    return train_tokenizer(["what is two and two? four, and so on, as words go"], 280)


def model(layers: int = 1, width: int = 32, seed: int = 0) -> LlamaForCausalLM:
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=words.vocab_size, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=words.bos, eos_token_id=words.eot, initializer_range=0.2,
    )  # fmt: skip
    return new_llama(config, seed).eval()


def prompts(count: int) -> list[list[int]]:
    """Of different lengths."""
    words = tokenizer()
    return [[words.bos, *words.encode("what is " * (1 + number % 4) + str(number))] for number in range(count)]
