"""Models: a Llama from a folder, or from the hub by a name that is known.

model = load_llama("meta-llama/Llama-3.1-8B-Instruct", torch.bfloat16, "cuda:0")

Weights are read as safetensors alone and code of a repository is never run, so that a model is data and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from cogumi.errors import InputError
from cogumi.lm.tokenizer import TrainingTokenizer, load_tokenizer

HUB = (
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.2-1B-Instruct",
    "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-3.2-3B-Instruct",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
)
"""Hub ids that may be asked for; anything else comes as a folder that its user has looked at."""


def load_llama(source: str, dtype: torch.dtype, device: str, revision: str = "main") -> LlamaForCausalLM:
    """The model of a folder or of a known hub id (a commit as `revision` pins it), frozen, in evaluation mode.

    Raises InputError model-not-allowed, model-unreadable, model-unsupported (not a Llama, or with code of its own),
    model-not-finite.
    """
    folder = Path(source)
    if folder.is_dir():
        _check_config(folder)
    elif source not in HUB:
        raise InputError("model-not-allowed", f"{source}: neither a folder nor one of {', '.join(HUB)}")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=folder.is_dir(),
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError("model-unreadable", f"{source}: {error}") from None
    if not isinstance(model, LlamaForCausalLM):
        raise InputError("model-unsupported", f"{source}: {type(model).__name__}")
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise InputError("model-not-finite", f"{source}: {name}")
    torch.nn.Module.to(model, device).train(False)
    model.requires_grad_(False)
    return model


def load_chat_tokenizer(folder: Path, vocabulary: int) -> TrainingTokenizer:
    """The tokenizer of a model's folder, which must know the turns of a chat and fit the model's vocabulary.

    Raises InputError tokenizer-unreadable, tokenizer-lacks-specials, chat-template-missing, vocabulary-mismatch.
    """
    tokenizer = load_tokenizer(folder)
    config: dict[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        config = orjson.loads((folder / "tokenizer_config.json").read_bytes())
    if not config.get("chat_template") and not (folder / "chat_template.jinja").is_file():
        raise InputError("chat-template-missing", str(folder))
    if tokenizer.vocab_size > vocabulary:
        raise InputError("vocabulary-mismatch", f"{folder}: {tokenizer.vocab_size} tokens, the model has {vocabulary}")
    return tokenizer


def _check_config(folder: Path) -> None:
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("model-unreadable", f"{folder}/config.json: {error}") from None
    if config.get("model_type") != "llama" or "auto_map" in config:
        told = "code of its own" if "auto_map" in config else f"model_type {config.get('model_type')!r}"
        raise InputError("model-unsupported", f"{folder}: {told}")
