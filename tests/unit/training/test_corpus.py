"""The token stream of a base model: what is in it, what is held out, and windows against a loop."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from cogumi.errors import InputError
from cogumi.lm.chat import PLAIN
from cogumi.lm.tokenizer import TrainingTokenizer, train_tokenizer
from cogumi.store.files import write_jsonl
from cogumi.training.corpus import Corpus, read_corpus, take_windows, text_files, unigram_nll, window_starts


@pytest.fixture(scope="module")
def tokenizer() -> TrainingTokenizer:
    return train_tokenizer([f"the answer to {n} is {n * n}" for n in range(300)], 400)


def rows(folder: Path, name: str, count: int) -> None:
    write_jsonl(folder / name, [{"prompt": f"what is {n}?", "response": f"{n * n}"} for n in range(count)])


def test_rows_keep_their_split_and_every_document_begins_with_the_begin_token(
    tmp_path: Path, tokenizer: TrainingTokenizer
) -> None:
    rows(tmp_path, "train.jsonl", 30)
    rows(tmp_path, "validation.jsonl", 4)
    corpus = read_corpus(tmp_path, [], tokenizer, PLAIN)
    assert corpus.documents == 34
    assert (corpus.train == tokenizer.bos).sum() == 30 and (corpus.validation == tokenizer.bos).sum() == 4
    assert corpus.train[0] == tokenizer.bos and (corpus.train == tokenizer.eot).sum() == 60


def test_texts_join_and_one_in_twenty_is_held_out_by_its_content(tmp_path: Path, tokenizer: TrainingTokenizer) -> None:
    rows(tmp_path, "train.jsonl", 1)
    rows(tmp_path, "validation.jsonl", 1)
    texts = tmp_path / "texts"
    texts.mkdir()
    for n in range(400):
        (texts / f"{n}.txt").write_text(f"the answer to {n} is {n * n}")
    (texts / "broken.txt").write_bytes(b"\xff\xfe\x00")
    (texts / "picture.png").write_bytes(b"not text")
    corpus = read_corpus(tmp_path, text_files([texts], 1), tokenizer, PLAIN)
    assert corpus.documents == 402
    held = int((corpus.validation == tokenizer.bos).sum()) - 1
    assert 8 <= held <= 35
    for n in range(400):  # other names, same content: the same split
        (texts / f"{n}.txt").rename(texts / f"again-{399 - n}.txt")
    again = read_corpus(tmp_path, text_files([texts], 1), tokenizer, PLAIN)
    assert sorted(again.validation.tolist()) == sorted(corpus.validation.tolist())


def test_nothing_to_read_is_an_error(tmp_path: Path, tokenizer: TrainingTokenizer) -> None:
    with pytest.raises(InputError, match="corpus-unreadable"):
        read_corpus(tmp_path, [], tokenizer, PLAIN)
    rows(tmp_path, "train.jsonl", 3)
    with pytest.raises(InputError, match=r"corpus-unreadable[\s\S]*0 held out"):
        read_corpus(tmp_path, [], tokenizer, PLAIN)
    with pytest.raises(InputError, match=r"corpus-unreadable[\s\S]*nowhere"):
        text_files([tmp_path / "nowhere"], 1)


def test_texts_are_taken_in_the_order_of_names_up_to_a_size(tmp_path: Path) -> None:
    for name, size in (("a.py", 400), ("b.md", 700), ("c.txt", 500), ("d.bin", 10)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert [file.name for file in text_files([tmp_path], 0.001)] == ["a.py", "c.txt"]
    assert [file.name for file in text_files([tmp_path / "d.bin", tmp_path], 1)] == ["d.bin", "a.py", "b.md", "c.txt"]


def test_windows_are_those_of_a_loop_and_depend_on_seed_and_step_alone() -> None:
    stream = torch.arange(1000, dtype=torch.int32)
    torch.manual_seed(1)
    starts = window_starts(1000, 16, 64, seed=3, step=7)
    torch.manual_seed(2)
    assert torch.equal(starts, window_starts(1000, 16, 64, seed=3, step=7))
    assert not torch.equal(starts, window_starts(1000, 16, 64, seed=3, step=8))
    assert not torch.equal(starts, window_starts(1000, 16, 64, seed=4, step=7))
    slow = [[int(stream[start + offset]) for offset in range(17)] for start in starts.tolist()]
    assert take_windows(stream, starts, 16).tolist() == slow
    seen = {int(s) for step in range(200) for s in window_starts(20, 16, 8, seed=0, step=step)}
    assert seen == {0, 1, 2, 3}, "every start, the last one too"
    with pytest.raises(InputError, match="corpus-too-small"):
        window_starts(16, 16, 1, seed=0, step=0)


def test_the_unigram_control_is_that_of_a_loop() -> None:
    train, held = [1, 1, 2, 3, 1], [1, 4, 2]
    corpus = Corpus(torch.tensor(train, dtype=torch.int32), torch.tensor(held, dtype=torch.int32), 2)
    counts = Counter(train)
    slow = -sum(math.log((counts[t] + 1) / (len(train) + 6)) for t in held) / len(held)
    assert unigram_nll(corpus, 6) == pytest.approx(slow, rel=1e-12)
