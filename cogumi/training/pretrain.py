"""pretrain: a small Llama from nothing, by next-token prediction on windows of a corpus.

It serves where no model is at hand: what comes after can be shown on one that has really learned. Bit-exact when
resumed on the same machine: windows depend on seed and step alone, there is no dropout, and the gradients of attention
and embeddings are added up in a fixed order.

Shape suffixes: B windows, T tokens of a window, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from cogumi.training.corpus import Corpus, take_windows, window_starts
from cogumi.training.fitting import Course, Fitted, Step, fit, hidden_of, output_loss
from cogumi.training.output_loss import cross_entropy_of
from cogumi.training.stopping import Stop

_MOST_VALIDATION = 64  # windows


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: `batch_windows` windows of `seq_length` tokens a step, drawn by `seed`."""

    steps: int
    batch_windows: int
    seq_length: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    save_every: int
    seed: int

    @property
    def course(self) -> Course:
        return Course(self.steps, self.learning_rate, self.warmup_steps, self.weight_decay, self.save_every)


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
) -> Fitted:
    """Train `model` in place on `device`, from the newest checkpoint on (see `fit`).

    Raises InputError corpus-too-small; RunError loss-not-finite; StorageError disk-full, disk-error.
    """
    torch.nn.Module.to(model, device)
    stream, count, length = corpus.train, schedule.batch_windows, schedule.seq_length

    def loss_of(step: int) -> tuple[Tensor, int]:
        starts_B = window_starts(len(stream), length, count, schedule.seed, step)
        return window_loss(model, take_windows(stream, starts_B, length), device), count * length

    return fit(model, loss_of, schedule.course, checkpoints, watch, stop)


@torch.no_grad()
def validation_nll(model: LlamaForCausalLM, stream_N: Tensor, seq_length: int, device: str) -> float:
    """Nats a token over windows of a held-out stream that do not overlap, at most 64 of them, evenly spread."""
    seq_length = min(seq_length, len(stream_N) - 1)
    count = max(1, min(_MOST_VALIDATION, (len(stream_N) - 1) // seq_length))
    starts = (torch.arange(count) * ((len(stream_N) - 1 - seq_length) / max(1, count - 1))).long()
    model.eval()
    losses = [window_loss(model, take_windows(stream_N, start[None], seq_length), device) for start in starts]
    model.train()
    return float(torch.stack(losses).mean())


def window_loss(model: LlamaForCausalLM, tokens_BT: Tensor, device: str) -> Tensor:
    """Mean nats per token; the last token of each window is only predicted."""
    tokens_BT = tokens_BT.to(device)
    hidden_ND = hidden_of(model, tokens_BT[:, :-1]).flatten(0, 1)
    return output_loss(model, hidden_ND, cross_entropy_of(tokens_BT[:, 1:].flatten()))
