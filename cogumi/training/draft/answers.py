"""What a model thinks of texts that it or another has written: the material of distillation.

    soft = read_softly(target, rows, keep=64)

Shape suffixes: B rows, T tokens, N places of responses, V vocabulary, D width, K words kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.phases import report_phase
from cogumi.training.draft.divergence import Soft, soften
from cogumi.training.fitting import fixed_attention, hidden_of, logits_of

_TOKENS_AT_ONCE = 4096


def prompt_of(row: Encoded) -> list[int]:
    """The tokens before the first one that the loss is on."""
    return row.ids[: row.mask.index(1)] if 1 in row.mask else row.ids


def response_hidden(model: LlamaForCausalLM, rows: Sequence[Encoded]) -> Tensor:
    """What the output matrix read for each response token, row after row: ND. Differentiable."""
    longest = max(len(row.ids) for row in rows)
    ids_BT = torch.zeros((len(rows), longest), dtype=torch.long)
    asked_BT = torch.zeros((len(rows), longest), dtype=torch.bool)
    for place, row in enumerate(rows):
        ids_BT[place, : len(row.ids)] = torch.tensor(row.ids)
        asked_BT[place, : len(row.mask)] = torch.tensor(row.mask, dtype=torch.bool)
    hidden_BTD = hidden_of(model, ids_BT[:, :-1].to(model.device))
    return hidden_BTD[asked_BT[:, 1:].to(model.device)]


def response_tokens(rows: Sequence[Encoded]) -> Tensor:
    """The response tokens, row after row: N."""
    return torch.tensor([word for row in rows for word, asked in zip(row.ids, row.mask, strict=True) if asked])


@torch.no_grad()
def response_logits_by_row(model: LlamaForCausalLM, rows: Sequence[Encoded]) -> Iterator[tuple[int, Tensor]]:
    """(number of the row, its response logits NV on the model's device), rows of like length together."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    was_training = model.training
    model.eval()
    with fixed_attention(model):
        while order:
            longest = len(rows[order[-1]].ids)
            count = max(1, _TOKENS_AT_ONCE // longest)
            report_phase("distributions", len(rows) - len(order), len(rows), "rows")
            chosen, order = order[-count:], order[:-count]
            logits_NV = logits_of(model, response_hidden(model, [rows[number] for number in chosen]))
            sizes = [sum(rows[number].mask) for number in chosen]
            yield from zip(chosen, logits_NV.split(sizes), strict=True)
    model.train(was_training)


def read_softly(model: LlamaForCausalLM, rows: Sequence[Encoded], keep: int) -> list[Soft]:
    """What a model would have written at each place of the responses: `keep` words and the rest, on the CPU."""
    found: dict[int, Soft] = {}
    for number, logits_NV in response_logits_by_row(model, rows):
        soft = soften(logits_NV, keep).to("cpu")
        found[number] = Soft(soft.words_NK.int(), soft.log_p_NK.half(), soft.log_rest_N)
    return [found[number] for number in range(len(rows))]
