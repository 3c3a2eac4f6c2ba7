"""Merge: a base model with an adapter folded in, as a folder that transformers loads by itself.

    merge(Path("runs/demo/base"), Path("runs/demo/adapter"), Path("merged"))

PEFT does the work (W + s B A, in the precision the base is stored in); `merge_check` looks at it independently. Where
the output matrix is changed and the base shares it with the embedding, the merged model has two.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import torch
from peft import PeftModel
from safetensors import SafetensorError
from torch import nn
from transformers import LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from cogumi.errors import InputError
from cogumi.lm.model import generation_config, load_llama
from cogumi.lm.tokenizer import load_tokenizer
from cogumi.training.tensor_file import disk_errors

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write the merged model with tokenizer and generation_config.

    Raises InputError adapter-unreadable, and as load_llama; StorageError disk-full, disk-error.
    """
    model = load_llama(str(base), stored_dtype(base), "cpu")
    if model.config.tie_word_embeddings and changes_output(adapter):
        untie(model)
    try:
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError("adapter-unreadable", f"{adapter}: {error}") from None
    merged.generation_config = generation_config(load_tokenizer(base))
    disable_progress_bar()
    with disk_errors():
        merged.save_pretrained(out)
        for name in _TOKENIZER:
            if (base / name).is_file():
                shutil.copyfile(base / name, out / name)


def stored_dtype(folder: Path) -> torch.dtype:
    """What a model's folder says that its weights are stored in; fp32 where it says nothing."""
    config = orjson.loads((folder / "config.json").read_bytes())
    dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InputError("model-unsupported", f"{folder}: stored as {config.get('dtype')}")
    return dtype


def changes_output(adapter: Path) -> bool:
    """Whether an adapter changes the matrix that reads the vocabulary."""
    try:
        config = orjson.loads((adapter / "adapter_config.json").read_bytes())
        return "lm_head" in config["target_modules"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("adapter-unreadable", f"{adapter}: {error}") from None


def untie(model: LlamaForCausalLM) -> None:
    """Give the model an output matrix of its own, equal to its embedding."""
    model.config.tie_word_embeddings = False
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone(), requires_grad=False)
