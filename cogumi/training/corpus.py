"""Corpus: what a base model is trained on, as one stream of tokens, documents one after another.

corpus = read_corpus(Path("runs/demo/dataset"), [Path("notes/")], tokenizer, PLAIN)
tokens_BT = take_windows(corpus.train, window_starts(len(corpus.train), 256, 16, seed=0, step=7), 256)

Shape suffixes: N tokens of a stream, B windows, T tokens of a window and the one that follows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cogumi.errors import InputError
from cogumi.lm.chat import ChatFormat, encode_examples, response_text
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.store.files import read_jsonl

_AT_ONCE = 1000
_HELD_OUT_1_IN = 20  # of text documents; rows come with their own split
_TEXT = {".txt", ".md", ".rst", ".py"}
_MOST_BYTES = 4 << 20  # of one document


@dataclass(frozen=True, slots=True)
class Corpus:
    """Token ids (int32) of both parts; every document begins with <|begin_of_text|>."""

    train: Tensor
    validation: Tensor
    documents: int


def text_files(places: list[Path], most_mb: float) -> list[Path]:
    """Every text file below the places in the order of their names, up to `most_mb` (10^6 bytes) in all.

    Raises InputError corpus-unreadable where a place does not exist.
    """
    found: list[Path] = []
    left = most_mb * 1e6
    for place in places:
        if not place.exists():
            raise InputError("corpus-unreadable", f"{place}: there is none")
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file != place and (file.suffix not in _TEXT or not file.is_file()):
                continue
            size = file.stat().st_size
            if size <= min(left, _MOST_BYTES):
                found.append(file)
                left -= size
    return found


def read_corpus(
    dataset: Path,
    texts: list[Path],
    tokenizer: TrainingTokenizer,
    form: ChatFormat,
    apart: frozenset[str] = frozenset(),
) -> Corpus:
    """The rows of a dataset artifact by its own split, and text files, of which 1 in 20 is held out by its content.
    Rows whose questions are `apart` are left out.

    Raises InputError corpus-unreadable where there is no row and no text.
    """
    train = list(_rows(dataset / "train.jsonl", tokenizer, form, apart))
    held = list(_rows(dataset / "validation.jsonl", tokenizer, form, apart))
    for document in _documents(texts, tokenizer):
        part = held if document.held_out else train
        part.append(document.ids)
    if not train or not held:
        raise InputError("corpus-unreadable", f"{dataset}: {len(train)} documents to train on, {len(held)} held out")
    return Corpus(torch.cat(train), torch.cat(held), len(train) + len(held))


def window_starts(length: int, seq_length: int, count: int, seed: int, step: int) -> Tensor:
    """Where the windows of a step begin (int64, B): a function of seed and step alone, so a resumed run draws the same.

    Raises InputError corpus-too-small where the stream does not hold one window.
    """
    if length < seq_length + 1:
        raise InputError("corpus-too-small", f"{length} tokens, a window is {seq_length + 1}")
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    chance = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randint(0, length - seq_length, (count,), generator=chance)


def take_windows(stream_N: Tensor, starts_B: Tensor, seq_length: int) -> Tensor:
    """Windows of a stream, each with the token after it (int64, B x T+1)."""
    return stream_N[starts_B[:, None] + torch.arange(seq_length + 1)].long()


def unigram_nll(corpus: Corpus, vocab_size: int) -> float:
    """Nats a token of the held-out part under add-one counts of the training part: what knowing no context gives."""
    counts = torch.bincount(corpus.train, minlength=vocab_size).double() + 1
    log_p = (counts / counts.sum()).log()
    return float(-log_p[corpus.validation.long()].mean())


@dataclass(frozen=True, slots=True)
class _Document:
    ids: Tensor
    held_out: bool


def _rows(file: Path, tokenizer: TrainingTokenizer, form: ChatFormat, apart: frozenset[str]) -> Iterator[Tensor]:
    if not file.is_file():
        return
    pairs = [
        (row["prompt"], response_text(row["response"], row.get("draft"), row.get("thinking"), form))
        for row in read_jsonl(file)
        if row["prompt"] not in apart
    ]
    for start in range(0, len(pairs), _AT_ONCE):
        for encoded in encode_examples(tokenizer, pairs[start : start + _AT_ONCE], form):
            yield _stored(encoded.ids)


def _documents(files: list[Path], tokenizer: TrainingTokenizer) -> Iterator[_Document]:
    """The texts in their order; what is not UTF-8 is left out."""
    for start in range(0, len(files), _AT_ONCE):
        texts = [text for file in files[start : start + _AT_ONCE] if (text := _text_of(file))]
        for text, ids in zip(texts, tokenizer.encode_many(texts), strict=True):
            chance = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            yield _Document(_stored([tokenizer.bos, *ids]), chance % _HELD_OUT_1_IN == 0)


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def _stored(ids: list[int]) -> Tensor:
    """Four bytes a token: Python's own integers take ten times as much."""
    return torch.tensor(ids, dtype=torch.int32)
