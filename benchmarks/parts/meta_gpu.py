"""Meta-steps at 8B on one GPU: ours, and the specification's loop over PEFT on the same batches; dense LoRA SFT beside
HF Trainer with PEFT.

Every time is the mean of steps that end with a synchronised device; compilation is not in it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM

from benchmarks.parts.llama8b import STEPS, batches, head_for, weights_for
from cogumi.cli.output import note
from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Algorithm, Episode, Inner, meta_loss
from cogumi.training.body import Keep, LlamaBody
from cogumi.training.lora import LoraShape

SHAPE = LoraShape(16, 32)
DENSE_TOKENS, DENSE_ROWS = 4096, 2


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step: seconds, and the peak of allocated memory in GiB."""

    seconds: float
    gib: float


def timed(step: Callable[[int], None], count: int, warm: int) -> Cost:
    """`step` gets the number of its batch."""
    for number in range(warm):
        step(number)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    for number in range(count):
        step(number)
    torch.cuda.synchronize()
    cost = Cost((time.monotonic() - began) / count, torch.cuda.max_memory_allocated() / 2**30)
    note(f"{step.__qualname__.split('.')[0]}: {cost}")
    return cost


def meta_cost(
    model: LlamaForCausalLM, algorithm: Algorithm, keep: Keep, kind: str = "lm_head_lora", count: int = 8
) -> Cost:
    """A whole step: loss, backward, clipping, AdamW."""
    gc.collect()
    torch.cuda.empty_cache()
    body = LlamaBody(model, SHAPE, compiled=True, keep=keep)
    head = head_for(algorithm, body, kind)
    weights = weights_for(body, head)
    trained = [*weights.slow.values(), *weights.head.values(), *weights.rates.values()]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    lists, inner = batches(count), Inner(algorithm, STEPS, 1.0)

    def step(number: int) -> None:
        loss, _ = meta_loss(body, head, weights, lists[number], inner)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed(step, count, min(3, count))


def dense_rows(seed: int) -> list[Encoded]:
    rng = Random(seed)
    return [Encoded([rng.randrange(128_000) for _ in range(DENSE_TOKENS)], [0] + [1] * (DENSE_TOKENS - 1))
            for _ in range(DENSE_ROWS)]  # fmt: skip


def dense_cost(model: LlamaForCausalLM, keep: Keep, count: int = 16) -> Cost:
    """One micro-batch of 2 x 4096 tokens, its part of an AdamW step every 16: NeMo AutoModel's published protocol."""
    gc.collect()
    torch.cuda.empty_cache()
    body = LlamaBody(model, SHAPE, compiled=True, keep=keep)
    head = head_for(Algorithm.SFT, body)
    weights = weights_for(body, head)
    trained = list(weights.slow.values())
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    episodes = [Episode("dense", [], dense_rows(0))]

    def step(number: int) -> None:
        loss, _ = meta_loss(body, head, weights, episodes, Inner(Algorithm.SFT, 0))
        loss.backward()
        if number == count - 1:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return timed(step, count, 2)


def spec_cost(model: LlamaForCausalLM, count: int = 8) -> Cost:
    """The specification's ANIL loop (sections 1.16 and 1.18) as one writes it with PEFT: padded sets, one a task, three
    inner steps in place on the last four LoRA tensors, each through the whole model. Leaves the model wrapped.
    """
    wrapped = _peft(model)
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    head = trained[-4:]
    optimizer = torch.optim.AdamW(trained, lr=5e-6, weight_decay=0.01)
    lists = batches(count)

    def step(number: int) -> None:
        for episode in lists[number]:
            support, query = _padded(list(episode.support)), _padded(list(episode.query))
            kept = [p.detach().clone() for p in head]
            for _ in range(STEPS):
                gradients = torch.autograd.grad(wrapped(**support).loss, head)
                with torch.no_grad():
                    for parameter, gradient in zip(head, gradients, strict=True):
                        parameter.sub_(3e-5 * gradient)
            (wrapped(**query).loss / len(lists[number])).backward()
            with torch.no_grad():
                for parameter, old in zip(head, kept, strict=True):
                    parameter.copy_(old)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    cost = timed(step, count, 2)
    wrapped.unload()
    return cost


def trainer_cost(model: LlamaForCausalLM, folder: str, steps: int = 4) -> Cost:
    """HF Trainer with PEFT on the dense protocol, 2 micro-batches a step; with gradient checkpointing, since 2 x 4096
    tokens do not fit without.
    """
    from transformers import Trainer, TrainingArguments  # noqa: PLC0415 - needs accelerate

    wrapped = _peft(model)
    wrapped.enable_input_require_grads()
    rows = [{"input_ids": row.ids, "labels": row.ids} for seed in range(2 * steps) for row in dense_rows(seed)]
    arguments = TrainingArguments(
        output_dir=folder, per_device_train_batch_size=DENSE_ROWS, gradient_accumulation_steps=2, max_steps=steps,
        bf16=True, gradient_checkpointing=True, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True,
    )  # fmt: skip
    torch.cuda.reset_peak_memory_stats()
    done = Trainer(model=wrapped, args=arguments, train_dataset=rows).train()
    wrapped.unload()
    return Cost(float(done.metrics["train_runtime"]) / (2 * steps), torch.cuda.max_memory_allocated() / 2**30)


def _peft(model: LlamaForCausalLM) -> Any:
    """PEFT's LoRA, fp32 masters."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415

    gc.collect()
    torch.cuda.empty_cache()
    config = LoraConfig(r=16, lora_alpha=32, target_modules=list(SHAPE.modules), task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config)
    wrapped.train()
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            assert parameter.dtype == torch.float32, "PEFT keeps its masters in fp32"
    return wrapped


def _padded(examples: list[Encoded]) -> dict[str, torch.Tensor]:
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    labels, seen = torch.full_like(ids, -100), torch.zeros_like(ids)
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        labels[row, :length] = torch.where(torch.tensor(example.mask) == 1, ids[row, :length], -100)
        seen[row, :length] = 1
    return {name: x.cuda() for name, x in (("input_ids", ids), ("labels", labels), ("attention_mask", seen))}
