"""Hub ids that may be asked for, with the shapes that memory is planned by. It needs no torch."""

from __future__ import annotations

HUB = {
    "meta-llama/Llama-3.1-8B": (4096, 14336, 32, 32, 8, 128256, False),
    "meta-llama/Llama-3.1-8B-Instruct": (4096, 14336, 32, 32, 8, 128256, False),
    "meta-llama/Llama-3.2-1B": (2048, 8192, 16, 32, 8, 128256, True),
    "meta-llama/Llama-3.2-1B-Instruct": (2048, 8192, 16, 32, 8, 128256, True),
    "meta-llama/Llama-3.2-3B": (3072, 8192, 28, 24, 8, 128256, True),
    "meta-llama/Llama-3.2-3B-Instruct": (3072, 8192, 28, 24, 8, 128256, True),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": (2048, 5632, 22, 32, 4, 32000, False),
    "Qwen/Qwen2.5-0.5B-Instruct": (896, 4864, 24, 14, 2, 151936, True),
}
"""Anything else comes as a folder that its user has looked at. Width, feed-forward, layers, heads, key heads,
vocabulary, and whether the embedding is the output too."""
