"""Vocabulary transplant: a draft of another tokenizer learns the target's words from its own pieces of them.

    how = spelling(read_pieces(donor_folder), read_pieces(target_folder), words)
    draft = transplanted(donor, how)

A word of the target is spelled by the donor's tokenizer, and its row is the mean of the pieces' rows: exact where the
donor has the same word, near where it has two or three. Special tokens stand in for those of the same part in a chat;
what the donor cannot spell begins as its mean row. The layers stay as they are, and a short distillation mends the
rest. What comes out proposes the target's own tokens, so that any engine can use it. After Qwama and transplant-vocab.

Shape suffixes: V words of the target, D width.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from cogumi.lm.pieces import Pieces
from cogumi.lm.tokenizer import BOS, END_OF_MESSAGE, END_OF_TEXT, END_OF_TURN, START_HEADER

_STAND_INS = {
    BOS: ("<s>", "<|endoftext|>", "<|im_start|>"),
    END_OF_TEXT: ("</s>", "<|endoftext|>"),
    END_OF_TURN: ("<|im_end|>", "</s>", "<|endoftext|>"),
    END_OF_MESSAGE: ("<|im_end|>", "</s>", "<|endoftext|>"),
    START_HEADER: ("<|im_start|>", "</s>", "<|endoftext|>"),
}
"""Of Llama 3's special tokens: those of TinyLlama and of Qwen that stand where it stands."""
SAME, SPELLED, STAND_IN, UNKNOWN = "same", "spelled", "stand_in", "unknown"


@dataclass(frozen=True, slots=True)
class Spelling:
    """How each word of the target begins: the donor's pieces, none for its mean row; and how many words of a kind."""

    pieces: list[list[int]]
    counts: dict[str, int]
    mean_pieces: float
    """Of the words that are spelled."""


def spelling(donor: Pieces, target: Pieces, words: int) -> Spelling:
    """Of the ids 0 up to `words` of the target."""
    special = {number: name for name, number in target.specials.items()}
    found: list[list[int]] = []
    kinds: Counter[str] = Counter({SAME: 0, SPELLED: 0, STAND_IN: 0, UNKNOWN: 0})
    for number in range(words):
        pieces, kind = _word(donor, target, number, special.get(number))
        found.append(pieces)
        kinds[kind] += 1
    spelled = [len(pieces) for pieces in found if len(pieces) > 1]
    return Spelling(found, dict(kinds), sum(spelled) / max(1, len(spelled)))


def transplanted(donor: LlamaForCausalLM, how: Spelling) -> LlamaForCausalLM:
    """The donor with the target's words, fp32, where the donor is. A donor with one matrix for both keeps one."""
    words = len(how.pieces)
    config = copy.deepcopy(donor.config)
    config.vocab_size = words
    tied = bool(config.tie_word_embeddings)
    embedding_VD = _rows(donor.model.embed_tokens.weight.detach(), how.pieces)
    output_VD = embedding_VD if tied else _rows(donor.lm_head.weight.detach(), how.pieces)
    with torch.device("meta"):
        made: Any = LlamaForCausalLM(config)
    held = {name: weight.detach().float().clone() for name, weight in donor.state_dict().items()}
    held |= {"model.embed_tokens.weight": embedding_VD, "lm_head.weight": output_VD}
    made.load_state_dict(held, assign=True)
    made.model.rotary_emb = copy.deepcopy(donor.model.rotary_emb)  # it holds what no state dict does
    made.tie_weights()
    result: LlamaForCausalLM = made.eval()
    return result


def _word(donor: Pieces, target: Pieces, number: int, special: str | None) -> tuple[list[int], str]:
    if special is not None:
        names = (special, *_STAND_INS.get(special, ()))
        standing = next((donor.specials[name] for name in names if name in donor.specials), None)
        return ([], UNKNOWN) if standing is None else ([standing], STAND_IN)
    text = target.bytes_of(number)
    pieces = donor.spell(text) if text else None
    if not pieces:
        return [], UNKNOWN
    return pieces, SAME if len(pieces) == 1 else SPELLED


def _rows(donor_D: Tensor, pieces: Sequence[Sequence[int]]) -> Tensor:
    """VD: the mean row of each word's pieces."""
    wide = donor_D.float()
    counts_V = torch.tensor([len(each) for each in pieces], device=wide.device)
    flat = torch.tensor([piece for each in pieces for piece in each], dtype=torch.long, device=wide.device)
    place = torch.repeat_interleave(torch.arange(len(pieces), device=wide.device), counts_V)
    rows_VD = torch.zeros(len(pieces), wide.shape[1], device=wide.device).index_add_(0, place, wide[flat])
    rows_VD = rows_VD / counts_V.clamp(min=1)[:, None]
    rows_VD[counts_V == 0] = wide.mean(0)
    return rows_VD
