"""Adaptable: a base model with an adapter from disk, ready to be adapted.

model = open_adaptable("runs/demo/base", Path("runs/demo/adapter"), torch.float32, "cpu")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from transformers import LlamaForCausalLM

from cogumi.errors import InputError
from cogumi.lm.model import load_llama, model_folder
from cogumi.training.adapter import load_adapter
from cogumi.training.algorithms import Algorithm, Inner, MetaWeights
from cogumi.training.body import LlamaBody
from cogumi.training.head import Head, LastLayers, OutputHead
from cogumi.training.lora import MODULES, LoraShape


@dataclass(frozen=True, slots=True)
class Adaptable:
    """The model, the adapter as it was trained, and how it was trained to be adapted. `base` is the model's id,
    `stored_in` its folder.
    """

    model: LlamaForCausalLM
    body: LlamaBody
    head: Head
    weights: MetaWeights
    inner: Inner
    base: str
    stored_in: Path | None = None


def open_adaptable(source: str, folder: Path, arithmetic: torch.dtype, device: str) -> Adaptable:
    """Load a base (a folder or a known hub id) and the adapter of a folder that belongs to it.

    Raises InputError adapter-unreadable, and as load_llama.
    """
    told = _read(folder, "meta.json", ("head", "cut", "algorithm", "steps", "base"))
    config = _read(folder, "adapter_config.json", ("r", "lora_alpha", "lora_dropout", "target_modules"))
    stored_in = model_folder(source)
    model = load_llama(str(stored_in), arithmetic, device)
    try:
        named = set(config["target_modules"]) - {"lm_head"}
        modules = (*(m for m in MODULES if m in named), *sorted(named.difference(MODULES)))
        shape = LoraShape(config["r"], config["lora_alpha"], config["lora_dropout"], modules)
        inner = Inner(Algorithm(told["algorithm"]), int(told["steps"]), told.get("clip"))
        body = LlamaBody(model, shape)
        head = _head(body, told, config)
    except (InputError, TypeError, ValueError, KeyError) as error:
        raise InputError("adapter-unreadable", f"{folder}: {error}") from None
    weights = load_adapter(folder, body, head)
    return Adaptable(model, body, head, weights, inner, str(told["base"]), stored_in)


def _head(body: LlamaBody, told: dict[str, Any], config: dict[str, Any]) -> Head:
    if told["head"] == "last_layers":
        return LastLayers(body, int(told["cut"]))
    rank, alpha = config["rank_pattern"]["lm_head"], config["alpha_pattern"]["lm_head"]
    return OutputHead(body, int(rank), int(alpha), on_hidden=told["head"] == "final_hidden")


def _read(folder: Path, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = dict(orjson.loads((folder / name).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError("adapter-unreadable", f"{folder / name}: {error}") from None
    missing = [key for key in keys if key not in found]
    if missing:
        raise InputError("adapter-unreadable", f"{folder / name}: no {', '.join(missing)}")
    return found
