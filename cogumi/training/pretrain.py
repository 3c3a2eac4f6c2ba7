"""pretrain: a small Llama from nothing, by next-token prediction on windows of a corpus.

It serves where no model is at hand: what comes after can be shown on one that has really learned. AdamW (Loshchilov
and Hutter 2019) with linear warm-up and a cosine to a tenth, gradients clipped at norm 1, fp32 weights, bf16 arithmetic
on a GPU. Bit-exact when resumed on the same machine: windows depend on seed and step alone, there is no dropout, and
the gradients of attention and embeddings are added up in a fixed order.

Shape suffixes: B windows, T tokens of a window, V vocabulary.
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
from torch.nn import functional
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM

from cogumi.errors import RunError
from cogumi.training.attention import for_windows, varlen
from cogumi.training.checkpoint import load_newest, save_checkpoint
from cogumi.training.corpus import Corpus, take_windows, window_starts
from cogumi.training.determinism import embedded
from cogumi.training.schedule import warmup_cosine
from cogumi.training.stopping import Stop

_CLIP = 1.0
_MOST_VALIDATION = 64  # windows
_EMBEDDINGS = "model.embed_tokens.weight"
_WINDOWS = "cogumi_windows"  # a name with "flash" in it is taken for a kernel of the flash-attn package
AttentionInterface.register(_WINDOWS, for_windows(varlen))


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: `batch_windows` windows of `seq_length` tokens a step."""

    steps: int
    batch_windows: int
    seq_length: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    save_every: int
    seed: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one step told: nats a token, and tokens a second since the loop began."""

    step: int
    loss: float
    learning_rate: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The end of a loop. `finished` is False where it was asked to stop; `resumed_from` is 0 for a fresh start."""

    finished: bool
    step: int
    resumed_from: int
    passed_over: list[str]
    seconds: float
    tokens_per_s: float


def new_llama(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A model with fresh fp32 weights: the same seed gives the same ones, on any machine's CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: LlamaForCausalLM = LlamaForCausalLM(config).float()
    return model


def pretrain(
    model: LlamaForCausalLM,
    corpus: Corpus,
    schedule: Schedule,
    device: str,
    checkpoints: Path,
    watch: Callable[[Step], None] = lambda step: None,
    stop: Stop | None = None,
) -> Pretrained:
    """Train `model` in place on `device`, from the newest checkpoint on. Asked to stop, it saves and ends.

    Raises InputError corpus-too-small; RunError loss-not-finite; StorageError disk-full, disk-error.
    """
    torch.nn.Module.to(model, device).train()
    optimizer = _optimizer(model, schedule)
    held = load_newest(checkpoints)
    first = step = held.step if held else 0
    if held is not None:
        _restore(model, optimizer, held.tensors)
    began = time.monotonic()
    stop = stop or Stop()
    with _attention(model, device):
        while step < schedule.steps and not stop.asked:
            loss = _one_step(model, optimizer, corpus, schedule, step, device)
            step += 1
            if not math.isfinite(loss):
                raise RunError("loss-not-finite", f"step {step}: {loss}")
            rate = (step - first) * schedule.batch_windows * schedule.seq_length / (time.monotonic() - began)
            watch(Step(step, loss, optimizer.param_groups[0]["lr"], rate))
            if step % schedule.save_every == 0:
                save_checkpoint(checkpoints, step, _tensors(model, optimizer))
        if stop.asked and step % schedule.save_every:
            save_checkpoint(checkpoints, step, _tensors(model, optimizer))
    seconds = time.monotonic() - began
    done = (step - first) * schedule.batch_windows * schedule.seq_length
    passed_over = held.passed_over if held else []
    return Pretrained(step == schedule.steps, step, first, passed_over, seconds, done / max(seconds, 1e-9))


@torch.no_grad()
def validation_nll(model: LlamaForCausalLM, stream_N: Tensor, seq_length: int, device: str) -> float:
    """Nats a token over windows of a held-out stream that do not overlap, at most 64 of them, evenly spread."""
    seq_length = min(seq_length, len(stream_N) - 1)
    count = max(1, min(_MOST_VALIDATION, (len(stream_N) - 1) // seq_length))
    starts = (torch.arange(count) * ((len(stream_N) - 1 - seq_length) / max(1, count - 1))).long()
    model.eval()
    losses = [_loss(model, take_windows(stream_N, start[None], seq_length), device) for start in starts]
    model.train()
    return float(torch.stack(losses).mean())


def _one_step(
    model: LlamaForCausalLM,
    optimizer: torch.optim.AdamW,
    corpus: Corpus,
    schedule: Schedule,
    step: int,
    device: str,
) -> float:
    starts_B = window_starts(len(corpus.train), schedule.seq_length, schedule.batch_windows, schedule.seed, step)
    for group in optimizer.param_groups:
        group["lr"] = warmup_cosine(step, schedule.steps, schedule.warmup_steps, schedule.learning_rate)
    optimizer.zero_grad(set_to_none=True)
    loss = _loss(model, take_windows(corpus.train, starts_B, schedule.seq_length), device)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
    optimizer.step()
    return float(loss.detach())


def _loss(model: LlamaForCausalLM, tokens_BT: Tensor, device: str) -> Tensor:
    """Mean nats a token; the last token of each window is only predicted."""
    tokens_BT = tokens_BT.to(device)
    with _arithmetic(device):
        inputs_BTD = embedded(tokens_BT[:, :-1], model.get_parameter(_EMBEDDINGS))
        logits_BTV = model(inputs_embeds=inputs_BTD, use_cache=False).logits
    return functional.cross_entropy(logits_BTV.flatten(0, 1).float(), tokens_BT[:, 1:].flatten())


@contextmanager
def _attention(model: LlamaForCausalLM, device: str) -> Iterator[None]:
    """On a GPU, attention whose gradient has the same bits each time, for as long as the block lasts."""
    before = model.config._attn_implementation
    if device.startswith("cuda"):
        model.set_attn_implementation(_WINDOWS)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _arithmetic(device: str) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else nullcontext()


def _optimizer(model: LlamaForCausalLM, schedule: Schedule) -> torch.optim.AdamW:
    """Matrices decay, norms do not."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": schedule.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.95))


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
