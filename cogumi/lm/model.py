"""Models: a Llama from a folder, or from the hub by a name that is known.

model = load_llama("meta-llama/Llama-3.1-8B-Instruct", torch.bfloat16, "cuda:0")

Weights are read as safetensors alone and code of a repository is never run, so that a model is data and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar

from cogumi.errors import InputError
from cogumi.lm.hub import HUB
from cogumi.lm.tokenizer import END_OF_MESSAGE, END_OF_TEXT, END_OF_TURN, PAD, TrainingTokenizer, load_tokenizer
from cogumi.phases import report_phase

_DATA = ["*.json", "*.safetensors", "*.jinja"]
"""Of a repository: nothing that could be run."""
_SHARED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_parameters", "tie_word_embeddings",
    "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip
"""Settings that Qwen2 and Llama have in common."""


def model_folder(source: str, revision: str = "main", families: Sequence[str] = ("llama",)) -> Path:
    """The folder of a model: itself, or a hub id's files downloaded (a commit as `revision` pins them).

    Raises InputError model-not-allowed, model-unreadable, model-unsupported (of another family, or with code of its
    own).
    """
    folder = Path(source)
    if not folder.is_dir():
        if source not in HUB:
            raise InputError("model-not-allowed", f"{source}: neither a folder nor one of {', '.join(HUB)}")
        try:
            folder = Path(snapshot_download(source, revision=revision, allow_patterns=_DATA))
        except (OSError, ValueError, httpx.HTTPError) as error:
            raise InputError("model-unreadable", f"{source}: {error}") from None
    _check_config(folder, families)
    return folder


def load_llama(source: str, dtype: torch.dtype, device: str, revision: str = "main") -> LlamaForCausalLM:
    """The model of a folder or of a known hub id, frozen, in evaluation mode.

    Raises as model_folder, and InputError model-not-finite.
    """
    report_phase("loading the model")
    model = _read(model_folder(source, revision), dtype)
    if not isinstance(model, LlamaForCausalLM):
        raise InputError("model-unsupported", f"{source}: {type(model).__name__}")
    torch.nn.Module.to(model, device)
    return model


def load_as_llama(folder: Path) -> LlamaForCausalLM:
    """A folder's Llama, or its Qwen2 as the Llama that computes the same: with biases, that of the output matrix of
    attention zero. fp32, on the CPU. Raises InputError model-unreadable, model-unsupported, model-not-finite.
    """
    model = _read(folder, torch.float32)
    if isinstance(model, LlamaForCausalLM):
        same: LlamaForCausalLM = model
        return same
    config = model.config
    if not isinstance(model, Qwen2ForCausalLM) or getattr(config, "use_sliding_window", False):
        raise InputError("model-unsupported", f"{folder}: {type(model).__name__}")
    kept = {name: getattr(config, name) for name in _SHARED if getattr(config, name, None) is not None}
    with torch.device("meta"):
        made: Any = LlamaForCausalLM(LlamaConfig(**kept, attention_bias=True))
    weights = dict(model.state_dict())
    for number in range(config.num_hidden_layers):
        weights[f"model.layers.{number}.self_attn.o_proj.bias"] = torch.zeros(config.hidden_size)
    made.load_state_dict(weights, assign=True)
    made.model.rotary_emb = type(made.model.rotary_emb)(made.config)  # it holds what no state dict does
    made.tie_weights()
    converted: LlamaForCausalLM = _frozen(made)
    return converted


def _read(folder: Path, dtype: torch.dtype) -> Any:
    """Raises InputError model-unreadable, model-not-finite."""
    disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(  # nosec B615 # a folder; the hub's revision is model_folder's
            folder, dtype=dtype, trust_remote_code=False, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError("model-unreadable", f"{folder}: {error}") from None
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise InputError("model-not-finite", f"{folder}: {name}")
    return _frozen(model)


def _frozen(model: Any) -> Any:
    model.requires_grad_(False)
    return model.train(False)


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


def generation_config(tokenizer: TrainingTokenizer) -> GenerationConfig:
    """With every token that ends a turn."""
    ends = [tokenizer.id_of(name) for name in (END_OF_TURN, END_OF_TEXT, END_OF_MESSAGE)]
    return GenerationConfig(
        bos_token_id=tokenizer.bos, eos_token_id=[number for number in ends if number is not None],
        pad_token_id=tokenizer.id_of(PAD),
    )  # fmt: skip


def _check_config(folder: Path, families: Sequence[str]) -> None:
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("model-unreadable", f"{folder}/config.json: {error}") from None
    if config.get("model_type") not in families or "auto_map" in config:
        told = "code of its own" if "auto_map" in config else f"model_type {config.get('model_type')!r}"
        raise InputError("model-unsupported", f"{folder}: {told}")
