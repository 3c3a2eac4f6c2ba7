"""fit: every weight of a model trained by a loss of one's own, in a loop that is resumed to the bit.

AdamW (Loshchilov and Hutter 2019) with linear warm-up and a cosine to a tenth, gradients clipped at norm 1, fp32
weights, bf16 arithmetic on a GPU. The loss is a function of the step's number: it draws its own batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, LlamaForCausalLM

from cogumi.errors import RunError
from cogumi.training.attention import for_windows, varlen
from cogumi.training.checkpoint import load_newest, save_checkpoint
from cogumi.training.determinism import embedded
from cogumi.training.output_loss import OfChunk, chunked_loss
from cogumi.training.schedule import warmup_cosine
from cogumi.training.stopping import Stop

_CLIP = 1.0
_EMBEDDINGS = "model.embed_tokens.weight"
_WINDOWS = "cogumi_windows"  # a name with "flash" in it is taken for a kernel of the flash-attn package
AttentionInterface.register(_WINDOWS, for_windows(varlen))
Loss = Callable[[int], tuple[Tensor, int]]
"""(number of the step, from 0) -> (loss, tokens that it is of)"""


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast."""

    steps: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    save_every: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one step told: which of how many, its loss in nats, and tokens a second since the loop began."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """The end of a loop. `finished` is False where it was asked to stop; `resumed_from` is 0 for a fresh start."""

    finished: bool
    step: int
    resumed_from: int
    passed_over: list[str]
    seconds: float
    tokens_per_s: float


def fit(
    model: LlamaForCausalLM,
    loss_of: Loss,
    course: Course,
    checkpoints: Path,
    watch: Callable[[Step], None] = lambda step: None,
    stop: Stop | None = None,
) -> Fitted:
    """Train `model` in place, where it is, from the newest checkpoint on. Asked to stop, it saves and ends; the last
    step is saved too, so that a loop that has ended is resumed as one that has.

    Raises RunError loss-not-finite; StorageError disk-full, disk-error.
    """
    model.train()
    optimizer = _optimizer(model, course)
    held = load_newest(checkpoints)
    first = step = held.step if held else 0
    if held is not None:
        _restore(model, optimizer, held.tensors)
    began, tokens, rate = time.monotonic(), 0, 0.0
    stop = stop or Stop()
    with fixed_attention(model):
        while step < course.steps and not stop.asked:
            loss, count = _one_step(model, optimizer, loss_of, course, step)
            step, tokens = step + 1, tokens + count
            if not math.isfinite(loss):
                raise RunError("loss-not-finite", f"step {step}: {loss}")
            rate = tokens / max(time.monotonic() - began, 1e-9)
            watch(Step(step, course.steps, loss, optimizer.param_groups[0]["lr"], rate))
            if step % course.save_every == 0 or step == course.steps:
                save_checkpoint(checkpoints, step, _tensors(model, optimizer))
        if stop.asked and step > first and step % course.save_every and step < course.steps:
            save_checkpoint(checkpoints, step, _tensors(model, optimizer))
    passed_over = held.passed_over if held else []
    return Fitted(step == course.steps, step, first, passed_over, time.monotonic() - began, rate)


def hidden_of(model: LlamaForCausalLM, tokens_BT: Tensor) -> Tensor:
    """What the output matrix reads: BTD. Rows may be padded behind, not in front."""
    with arithmetic(tokens_BT.device.type):
        inputs_BTD = embedded(tokens_BT, model.get_parameter(_EMBEDDINGS))
        hidden_BTD: Tensor = model.model(inputs_embeds=inputs_BTD, use_cache=False).last_hidden_state
    return hidden_BTD


def logits_of(model: LlamaForCausalLM, hidden: Tensor) -> Tensor:
    """... x D to ... x V."""
    with arithmetic(hidden.device.type):
        logits: Tensor = model.lm_head(hidden)
    return logits


def output_loss(model: LlamaForCausalLM, hidden_ND: Tensor, of_chunk: OfChunk) -> Tensor:
    """The mean over places of a loss of the next word, without all their logits at once (see `chunked_loss`)."""
    narrow = hidden_ND.to(torch.bfloat16) if hidden_ND.device.type == "cuda" else hidden_ND
    return chunked_loss(narrow, model.lm_head.weight, of_chunk)


def arithmetic(device: str) -> AbstractContextManager[Any]:
    """bf16 on a GPU."""
    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else nullcontext()


@contextmanager
def fixed_attention(model: LlamaForCausalLM) -> Iterator[None]:
    """On a GPU, attention whose gradient has the same bits each time, for as long as the block lasts."""
    before = model.config._attn_implementation
    if model.device.type == "cuda":
        model.set_attn_implementation(_WINDOWS)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _one_step(
    model: LlamaForCausalLM, optimizer: torch.optim.AdamW, loss_of: Loss, course: Course, step: int
) -> tuple[float, int]:
    for group in optimizer.param_groups:
        group["lr"] = warmup_cosine(step, course.steps, course.warmup_steps, course.learning_rate)
    optimizer.zero_grad(set_to_none=True)
    loss, count = loss_of(step)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
    optimizer.step()
    return float(loss.detach()), count


def _optimizer(model: LlamaForCausalLM, course: Course) -> torch.optim.AdamW:
    """Matrices decay, norms do not."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": course.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=course.learning_rate, betas=(0.9, 0.95))


def _tensors(model: LlamaForCausalLM, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Weights and both moments by parameter name."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        found[f"model/{name}"] = parameter
        found |= {f"{key}/{name}": value for key, value in optimizer.state[parameter].items()}
    return found


@torch.no_grad()
def _restore(model: LlamaForCausalLM, optimizer: torch.optim.AdamW, tensors: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(tensors[f"model/{name}"])
        optimizer.state[parameter] = {
            key: tensors[f"{key}/{name}"].to("cpu" if key == "step" else parameter.device)
            for key in ("step", "exp_avg", "exp_avg_sq")
        }
