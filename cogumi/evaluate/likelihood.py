"""Likelihood of responses: nats of each row's response tokens, prompts and padding never counted.

    found = read_packed(Packed(body), rows, budget=16384)      # [Likelihood(nats=31.2, tokens=17), ...]
    found = read_padded(model, rows, batch=8)                  # the same by transformers, for models without a body

Packed rows lie one behind the other without padding, and the vocabulary is multiplied with response tokens alone.
Shape suffixes: B rows, T tokens, N tokens of a pack, R response tokens, D width, V vocabulary, L rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cogumi.evaluate.perplexity import CHUNK_ROWS, READ_TOKENS, Likelihood
from cogumi.lm.chat import Encoded
from cogumi.phases import report_phase
from cogumi.training.body import LlamaBody
from cogumi.training.gain import grouped
from cogumi.training.lora import Prepared
from cogumi.training.packing import Pack, pack


@dataclass(frozen=True, slots=True)
class Packed:
    """A body with what changes it: LoRA of its layers, and (A: LD, B: VL, scale) of the output matrix."""

    body: LlamaBody
    lora: Prepared = field(default_factory=dict)
    low: tuple[Tensor, Tensor, float] | None = None


def read_packed(model: Packed, rows: Sequence[Encoded], budget: int | None = None) -> list[Likelihood]:
    """In the order given. Raises InputError example-without-loss where a row has no response."""
    body = model.body
    found: dict[int, Likelihood] = {}
    with body.evaluating():
        for group in _groups(body, rows, budget):
            report_phase("likelihood", len(found), len(rows), "rows")
            packed = pack([rows[place] for place in group], body.device)
            nats_R = _token_nats(model, packed).double().cpu()
            starts = packed.row_starts
            for number, place in enumerate(group):
                part = nats_R[starts[number] : starts[number + 1]]
                found[place] = Likelihood(float(part.sum()), len(part))
    return [found[place] for place in range(len(rows))]


def read_options(
    model: Packed, prompts: Sequence[list[int]], options: Sequence[list[int]], budget: int | None = None
) -> list[list[float]]:
    """Nats of each token that may come next, by prompt: a prompt is read once, however many there are."""
    body = model.body
    rows = [Encoded([*ids, words[0]], [0] * len(ids) + [1]) for ids, words in zip(prompts, options, strict=True)]
    found: dict[int, list[float]] = {}
    with body.evaluating():
        for group in _groups(body, rows, budget):
            report_phase("likelihood", len(found), len(rows), "prompts")
            packed = pack([rows[place] for place in group], body.device)
            h_RD = body.normed(body.run(packed, model.lora)[packed.rows_R])
            for start in range(0, len(group), CHUNK_ROWS):
                logits_RV = _logits(model, h_RD[start : start + CHUNK_ROWS])
                totals = logits_RV.logsumexp(-1)
                for number, place in enumerate(group[start : start + CHUNK_ROWS]):
                    nats = totals[number] - logits_RV[number, torch.tensor(options[place], device=logits_RV.device)]
                    found[place] = nats.double().tolist()
    return [found[place] for place in range(len(rows))]


@torch.no_grad()
def read_padded(model: Any, rows: Sequence[Encoded], batch: int = 8, by_length: bool = True) -> list[Likelihood]:
    """By the model's own forward, rows of like length together, or as they come. Any causal model of transformers."""
    found: dict[int, Likelihood] = {}
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids) if by_length else 0)
    for start in range(0, len(order), batch):
        report_phase("likelihood", start, len(order), "rows")
        group = order[start : start + batch]
        longest = max(len(rows[place].ids) for place in group)
        ids_BT = torch.zeros((len(group), longest), dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        seen_BT = torch.zeros_like(ids_BT)
        for number, place in enumerate(group):
            length = len(rows[place].ids)
            ids_BT[number, :length] = torch.tensor(rows[place].ids)
            mask_BT[number, :length] = torch.tensor(rows[place].mask)
            seen_BT[number, :length] = 1
        ids_BT, mask_BT, seen_BT = (each.to(model.device) for each in (ids_BT, mask_BT, seen_BT))
        logits_BTV = model(input_ids=ids_BT, attention_mask=seen_BT, use_cache=False).logits[:, :-1].float()
        log_p_BT = logits_BTV.log_softmax(-1).gather(2, ids_BT[:, 1:, None])[..., 0].double()
        for number, place in enumerate(group):
            asked_T = mask_BT[number, 1:].bool()
            found[place] = Likelihood(-float(log_p_BT[number][asked_T].sum()), int(asked_T.sum()))
    return [found[place] for place in range(len(rows))]


def _groups(body: LlamaBody, rows: Sequence[Encoded], budget: int | None) -> Iterator[list[int]]:
    """Places of rows, so many tokens together as go through the body at once."""
    most = budget or READ_TOKENS[body.device.partition(":")[0]]
    return grouped(range(len(rows)), lambda place: len(rows[place].ids), most)


def _token_nats(model: Packed, packed: Pack) -> Tensor:
    """-log p of each response token: R, fp32 or wider."""
    body = model.body
    h_RD = body.normed(body.run(packed, model.lora)[packed.rows_R])
    found = []
    for start in range(0, len(h_RD), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        logits_RV = _logits(model, h_RD[rows])
        found.append(logits_RV.logsumexp(-1) - logits_RV.gather(1, packed.targets_R[rows, None])[:, 0])
    return torch.cat(found)


def _logits(model: Packed, h_RD: Tensor) -> Tensor:
    """Of the output matrix with what changes it: RV, fp32 or wider."""
    logits_RV = _product(h_RD, model.body.vocabulary_VD.T)
    if model.low is not None:
        a_LD, b_VL, scale = model.low
        logits_RV.addmm_(h_RD.to(a_LD.dtype) @ a_LD.T, b_VL.T, alpha=scale)
    return logits_RV


def _product(h_RD: Tensor, vocabulary_DV: Tensor) -> Tensor:
    """Logits in fp32 at least: sums of 16-bit products are not rounded to 16 bits."""
    if h_RD.dtype in (torch.float16, torch.bfloat16):
        if h_RD.is_cuda:
            wide: Tensor = torch.mm(h_RD, vocabulary_DV, out_dtype=torch.float32)
            return wide
        return h_RD.float() @ vocabulary_DV.float()
    return h_RD @ vocabulary_DV
