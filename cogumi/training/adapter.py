"""Adapters on disk: what meta-training made, as a folder that PEFT reads.

    save_adapter(folder, body, head, weights, base="runs/demo/base")
    weights = load_adapter(folder, body, head)

    adapter_config.json, adapter_model.safetensors      LoRA as PEFT keeps it; a head on the output as one on lm_head
    meta.safetensors, meta.json                         the head as it was trained, its step sizes, kind and steps

A change of the final hidden state is folded into the output matrix: A = D, B = W U. PEFT then shows the model before
any adaptation; what a head needs to adapt further is in the second pair.
"""

from __future__ import annotations

from pathlib import Path

import orjson
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cogumi.errors import InputError
from cogumi.lm.stored import output_matrix
from cogumi.store.files import write_json
from cogumi.training.algorithms import Inner, MetaWeights
from cogumi.training.body import LlamaBody
from cogumi.training.head import Head, LastLayers, OutputHead
from cogumi.training.lora import Weights, layer_of, lora_sizes, module_path
from cogumi.training.tensor_file import save_tensors

_PREFIX = "base_model.model."


def save_adapter(
    folder: Path,
    body: LlamaBody,
    head: Head,
    weights: MetaWeights,
    inner: Inner,
    base: str,
    stored_in: Path | None = None,
) -> None:
    """Write all four files.

    Args:
        base: names the model it belongs to.
        stored_in: that model's folder. A change of the hidden state is folded, in fp32, with the output matrix as it is
            stored there; with the body's, which a GPU holds in bf16, where it is None.

    Raises InputError model-unreadable; StorageError disk-full, disk-error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = body.shape
    modules = list(shape.modules)
    lora = {**weights.slow, **(weights.head if isinstance(head, LastLayers) else {})}
    tensors = {_peft_name(name): weight for name, weight in lora.items()}
    rank, alpha = {}, {}
    if isinstance(head, OutputHead):
        a, b = (weights.head[name].detach() for name in ("head.A", "head.B"))
        if head.on_hidden:
            output_VD = body.vocabulary_VD if stored_in is None else output_matrix(stored_in)
            b = output_VD.float().cpu() @ b.float().cpu()
        tensors |= {f"{_PREFIX}lm_head.lora_A.weight": a, f"{_PREFIX}lm_head.lora_B.weight": b}
        modules.append("lm_head")
        rank, alpha = {"lm_head": head.rank}, {"lm_head": head.alpha}
    save_tensors(tensors, folder / "adapter_model.safetensors")
    config = LoraConfig(
        base_model_name_or_path=base, task_type="CAUSAL_LM", r=shape.rank, lora_alpha=shape.alpha,
        lora_dropout=shape.dropout, target_modules=modules, inference_mode=True, rank_pattern=rank,
        alpha_pattern=alpha,
    )  # fmt: skip
    config.save_pretrained(str(folder))
    save_tensors(_named(weights), folder / "meta.safetensors")
    told = {"head": kind_of(head), "cut": head.cut, "algorithm": inner.algorithm, "steps": inner.steps,
            "clip": inner.clip, "base": base}  # fmt: skip
    write_json(folder / "meta.json", told)


def load_adapter(folder: Path, body: LlamaBody, head: Head) -> MetaWeights:
    """The weights of an adapter, on the body's device. Raises InputError adapter-unreadable where they are not those of
    this body and head.
    """
    try:
        told = orjson.loads((folder / "meta.json").read_bytes())
        read = load_file(folder / "meta.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError("adapter-unreadable", f"{folder}: {error}") from None
    parts: dict[str, Weights] = {"slow": {}, "head": {}, "rates": {}}
    for name, tensor in read.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor.to(body.device, copy=True)  # what was read is still the file's
    lora = lora_sizes(body.config, body.shape)
    slow = {name: size for name, size in lora.items() if layer_of(name) < head.cut}
    fresh = {name: tuple(weight.shape) for name, weight in head.new(0).items()}
    same = _sizes(parts["slow"]) == slow and _sizes(parts["head"]) == fresh and parts["rates"].keys() == fresh.keys()
    if told.get("head") != kind_of(head) or told.get("cut") != head.cut or not same:
        raise InputError("adapter-unreadable", f"{folder}: made for another head or model ({told.get('head')})")
    return MetaWeights(parts["slow"], parts["head"], parts["rates"])


def _sizes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def kind_of(head: Head) -> str:
    """The head's name in a recipe."""
    if isinstance(head, OutputHead):
        return "final_hidden" if head.on_hidden else "lm_head_lora"
    return "last_layers"


def _peft_name(name: str) -> str:
    """base_model.model.model.layers.3.mlp.up_proj.lora_A.weight of layers.3.up_proj.A"""
    module, _, part = name.rpartition(".")
    return f"{_PREFIX}{module_path(module)}.lora_{part}.weight"


def _named(weights: MetaWeights) -> dict[str, Tensor]:
    parts: dict[str, Weights] = {"slow": weights.slow, "head": weights.head, "rates": weights.rates}
    return {f"{part}/{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
