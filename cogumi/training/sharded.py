"""A base model in parts: each process of a team holds a share of every layer's weights, and a layer is put together
just before it works (FSDP2: `torch.distributed.fsdp.fully_shard`, after Rajbhandari et al. 2020, ZeRO stage 3).

    model = load_in_parts(folder, torch.bfloat16, team)

The base is frozen, so that nothing but its weights travels: no gradient of them, no optimizer state. Embedding, output
matrix and last norm are whole in each process: the inner loop reads them all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoConfig, LlamaForCausalLM

from cogumi.errors import InputError
from cogumi.lm.stored import StoredTensors
from cogumi.training.lora import ATTENTION, MODULES
from cogumi.training.team import Team

Frozen = dict[str, Tensor]
"""The weights of one layer."""
LayerRun = Callable[..., Tensor]
"""(x, weights of a layer, its LoRA, ...) -> what comes out"""
_NORMS = {"input_norm": "input_layernorm", "post_norm": "post_attention_layernorm"}
NAMES = {name: f"{'self_attn' if name in ATTENTION else 'mlp'}.{name}.weight" for name in MODULES} | {
    name: f"{theirs}.weight" for name, theirs in _NORMS.items()
}
"""Where transformers keeps a layer's weights, by our names."""


class Part(nn.Module):
    """One layer's frozen weights, of which this process holds a share between its runs."""

    def __init__(self, frozen: Frozen) -> None:
        super().__init__()
        for name, weight in frozen.items():
            self.register_parameter(name, nn.Parameter(weight, requires_grad=False))

    def forward(self, run: LayerRun, x_ND: Tensor, lora: Any, *rest: Any) -> Tensor:
        return run(x_ND, {name: getattr(self, name) for name in NAMES}, lora, *rest)


class Stack(nn.Module):
    """All layers. Running them through it lets the next one be fetched while one works."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, run: LayerRun, x_ND: Tensor, lora: Any, first: int, after: int, *rest: Any) -> Tensor:
        for number in range(first, after):
            x_ND = self.layers[number](run, x_ND, lora.get(number, {}), *rest)
        return x_ND


def frozen_of(layer: Any) -> Frozen:
    """The weights of a decoder layer of transformers, by our names."""
    return {name: layer.get_parameter(theirs).detach() for name, theirs in NAMES.items()}


def in_parts(model: LlamaForCausalLM, team: Team) -> LlamaForCausalLM:
    """The same model with its layers in parts; what was whole of them goes."""
    return with_parts(model, (frozen_of(layer) for layer in model.model.layers), team)


def load_in_parts(folder: Path, dtype: torch.dtype, team: Team) -> LlamaForCausalLM:
    """A folder's model on the team's devices. A layer is read, divided, and the rest of it let go before the next one.

    Raises InputError model-unreadable, model-not-finite.
    """
    try:
        with ExitStack() as files:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)  # nosec B615 # a folder
            with torch.device("meta"):
                made: Any = LlamaForCausalLM(config)
            stored = StoredTensors(folder, files, team.device)

            def read(name: str) -> Tensor:
                weight = stored.read(name).to(dtype)
                if not bool(weight.isfinite().all()):
                    raise InputError("model-not-finite", f"{folder}: {name}")
                return weight

            for name in ("model.embed_tokens", "model.norm", "lm_head"):
                if name == "lm_head" and config.tie_word_embeddings:
                    made.tie_weights()
                else:
                    made.get_submodule(name).weight = nn.Parameter(read(f"{name}.weight"), requires_grad=False)
            made.model.rotary_emb = type(made.model.rotary_emb)(config).to(team.device)
            layers = ({name: read(f"model.layers.{number}.{theirs}") for name, theirs in NAMES.items()}
                      for number in range(config.num_hidden_layers))  # fmt: skip
            return with_parts(made, layers, team)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError("model-unreadable", f"{folder}: {error!r}") from None


def with_parts(model: Any, layers: Iterable[Frozen], team: Team) -> LlamaForCausalLM:
    """The model with these weights in its layers' place, in parts; each is asked for when the last is divided."""
    mesh = init_device_mesh(torch.device(team.device).type, (team.size,))
    parts: list[Any] = [fully_shard(Part(frozen), mesh=mesh) for frozen in layers]
    stack = Stack(parts)
    fully_shard(stack, mesh=mesh)
    model.model.layers = stack
    result: LlamaForCausalLM = model.eval()
    return result
