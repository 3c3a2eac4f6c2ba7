"""Vocabulary transplant on a real model of 231K parameters: bits a byte in other words, at once and after 60 steps.

Needs the model beside COGUMI_DATA (models/tiny-llama-231k). It judges on text that it wrote itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

from benchmarks.measuring import Figure, report
from cogumi.errors import InputError
from cogumi.lm.model import load_as_llama
from cogumi.lm.pieces import Pieces, read_pieces
from cogumi.lm.tokenizer import TrainingTokenizer, train_tokenizer
from cogumi.training.draft.transplant import Spelling, spelling, transplanted
from cogumi.training.fitting import Course, fit, hidden_of, logits_of

WORDS = 600
TEXTS, JUDGED, STEPS, ROWS, RATE = 400, 100, 60, 8, 3e-3
Mix = Callable[[Tensor, list[int]], Tensor]
"""(rows of the donor, pieces) -> the row of a word"""
_MIXES: dict[str, Mix] = {
    "mean": lambda rows_VD, pieces: rows_VD[pieces].mean(0),
    "last": lambda rows_VD, pieces: rows_VD[pieces[-1]],
    "first": lambda rows_VD, pieces: rows_VD[pieces[0]],
    "chance": lambda rows_VD, pieces: torch.randn(rows_VD.shape[1]) * rows_VD.std(),
}
_WAYS = (("mean", "mean"), ("last", "mean"), ("mean", "first"), ("last", "first"), ("chance", "chance"))


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    source = Path(os.environ.get("COGUMI_DATA", "nowhere")).parent / "models" / "tiny-llama-231k"
    if not source.is_dir():
        raise InputError("model-not-allowed", f"{source}: set COGUMI_DATA; models/tiny-llama-231k lies beside it")
    donor, theirs = load_as_llama(source), read_pieces(source)
    texts, own = _texts(donor, theirs)
    ours = train_tokenizer(texts[JUDGED:], WORDS)
    with TemporaryDirectory() as folder:
        ours.save(Path(folder))
        how = spelling(theirs, read_pieces(Path(folder)), ours.vocab_size)
    rows = [[ours.bos, *ours.encode(text)] for text in texts]
    size = sum(len(text.encode()) for text in texts[:JUDGED])
    figures = [Figure("the donor in its own words", _bits(donor, own[:JUDGED], size), "bits/byte")]
    steps = 10 if quick else STEPS
    for name, made in _drafts(donor, how, ours).items():
        figures.append(Figure(f"{name}: at once", _bits(made, rows[:JUDGED], size), "bits/byte"))
        _train(made, rows[JUDGED:], steps)
        figures.append(Figure(f"{name}: after {steps} steps", _bits(made, rows[:JUDGED], size), "bits/byte"))
    settings = {"words": how.counts, "pieces of a spelled word": how.mean_pieces, "steps": steps, "texts": TEXTS}
    report("transplant", figures, settings, save=save, table=table)


def _texts(donor: LlamaForCausalLM, theirs: Pieces) -> tuple[list[str], list[list[int]]]:
    """What the donor writes, and its tokens."""
    torch.manual_seed(0)
    begun, writer = torch.full((TEXTS, 1), 1), cast(Any, donor)
    written = writer.generate(begun, do_sample=True, top_k=0, temperature=0.8, max_new_tokens=110, pad_token_id=0)
    words = [[number for number in row if number in theirs.tokens] for row in written.tolist()]
    texts = [b"".join(theirs.bytes_of(number) or b"" for number in row).decode(errors="ignore") for row in words]
    return texts, [[1, *row] for row in words]


def _drafts(donor: LlamaForCausalLM, how: Spelling, ours: TrainingTokenizer) -> dict[str, LlamaForCausalLM]:
    """The library's, with one matrix for both ends; and others with two, by how rows are mixed on each."""
    found = {"one matrix, mean of pieces (the library's)": transplanted(donor, how)}
    old_VD = donor.lm_head.weight.detach()
    for read, spoken in _WAYS:
        made = transplanted(donor, how)
        made.config.tie_word_embeddings = False
        rows = []
        for mix in (_MIXES[read], _MIXES[spoken]):
            torch.manual_seed(0)
            rows.append(torch.stack([mix(old_VD, each) if each else old_VD.mean(0) for each in how.pieces]))
        made.model.embed_tokens.weight = torch.nn.Parameter(rows[0])
        made.lm_head.weight = torch.nn.Parameter(rows[1])
        found[f"two matrices, read by {read}, spoken by {spoken}"] = made
    return found


def _train(draft: LlamaForCausalLM, rows: list[list[int]], steps: int) -> None:
    draft.requires_grad_(True)

    def loss_of(step: int) -> tuple[Tensor, int]:
        chance = torch.Generator().manual_seed(step)
        chosen = [rows[int(number)] for number in torch.randint(len(rows), (ROWS,), generator=chance)]
        ids_BT = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in chosen], batch_first=True)
        goals_BT = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(ids) for ids in chosen], batch_first=True, padding_value=-100
        )
        logits_BTV = logits_of(draft, hidden_of(draft, ids_BT[:, :-1]))
        loss = functional.cross_entropy(logits_BTV.flatten(0, 1), goals_BT[:, 1:].flatten())
        return loss, int((goals_BT >= 0).sum())

    with TemporaryDirectory() as place:
        fit(draft, loss_of, Course(steps, RATE, 10, 0.01, steps), Path(place))
    draft.requires_grad_(False).train(False)


def _bits(of: LlamaForCausalLM, rows: list[list[int]], size: int) -> float:
    nats = 0.0
    with torch.no_grad():
        for ids in rows:
            logits_TV = of(torch.tensor([ids])).logits[0, :-1]
            nats += float(functional.cross_entropy(logits_TV, torch.tensor(ids[1:]), reduction="sum"))
    return nats / size / math.log(2)
