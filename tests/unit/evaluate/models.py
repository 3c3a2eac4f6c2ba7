"""A small chat model in a folder: random weights that say something at every place, and a tokenizer that knows turns."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cogumi.lm.tokenizer import load_tokenizer
from cogumi.training.base import write_model

GOLDEN = Path(__file__).parents[2] / "golden" / "tokenizer"


def chat_model(folder: Path, seed: int = 1, attention_bias: bool = False) -> Path:
    """Width 32, two layers. Random in its biases too."""
    tokenizer = load_tokenizer(GOLDEN)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=False, initializer_range=0.3,
        attention_bias=attention_bias,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).float()
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(weight, std=0.3)
    write_model(model, tokenizer, folder)
    return folder
