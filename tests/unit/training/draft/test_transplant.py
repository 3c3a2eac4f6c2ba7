"""Vocabulary transplant: exact where words agree, the mean of pieces where they do not, and worth it on a real model."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from cogumi.errors import InputError
from cogumi.lm.model import load_as_llama
from cogumi.lm.pieces import Pieces, read_pieces
from cogumi.lm.tokenizer import BOS, END_OF_TURN, TrainingTokenizer, train_tokenizer
from cogumi.training.draft.transplant import spelling, transplanted
from tests.skipped import miss
from tests.unit.training.draft.models import model, tokenizer

TINY_LLAMA = Path(os.environ.get("COGUMI_DATA", "nowhere")).parent / "models" / "tiny-llama-231k"


def pieces_of(words: TrainingTokenizer, folder: Path) -> Pieces:
    folder.mkdir(exist_ok=True)
    words.save(folder)
    return read_pieces(folder)


def test_the_same_words_give_the_same_model(tmp_path: Path) -> None:
    ours, donor = pieces_of(tokenizer(), tmp_path), model()
    how = spelling(ours, ours, donor.config.vocab_size)
    assert how.counts["spelled"] == how.counts["unknown"] == 0
    made = transplanted(donor, how)
    assert all(torch.equal(w, made.state_dict()[name]) for name, w in donor.state_dict().items())
    ids = torch.arange(40)[None]
    assert torch.equal(made(ids).logits, donor(ids).logits)


def test_rows_are_those_of_the_pieces_and_the_donor_stays_as_it_was(tmp_path: Path) -> None:
    theirs, ours = pieces_of(tokenizer(), tmp_path / "a"), train_tokenizer(["zebras quiz zebras, quiz, and so on"], 300)
    target, donor = pieces_of(ours, tmp_path / "b"), model()
    before = {name: weight.clone() for name, weight in donor.state_dict().items()}
    words = ours.vocab_size + 5  # a vocabulary that was padded to a round number
    how = spelling(theirs, target, words)
    made = transplanted(donor, how)
    rows, old = made.get_input_embeddings().weight, before["model.embed_tokens.weight"]
    assert made.config.vocab_size == words == len(rows) and made.lm_head.weight is rows
    for word in ("z", "zebras", " quiz", " and"):
        (number,) = ours.encode(word) if len(ours.encode(word)) == 1 else (None,)
        if number is not None:
            torch.testing.assert_close(rows[number], old[tokenizer().encode(word)].mean(0))
    assert torch.equal(rows[ours.eot], old[tokenizer().id_of(END_OF_TURN)]) and torch.equal(
        rows[ours.bos], old[tokenizer().id_of(BOS)]
    )
    torch.testing.assert_close(rows[-1], old.mean(0))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(1)
    assert all(torch.equal(weight, before[name]) for name, weight in donor.state_dict().items())


def test_special_tokens_stand_in_for_those_of_their_part(tmp_path: Path) -> None:
    told = Tokenizer.from_str(tokenizer()._inner.to_str())
    told.add_special_tokens(["<|im_start|>", "<|im_end|>", "</s>"])
    donor, ours = Pieces(told, "with Qwen's"), train_tokenizer(["other words"], 300)
    renamed = {
        name: donor.specials.pop(name)
        for name in [*donor.specials]
        if name not in ("<|im_start|>", "<|im_end|>", "</s>")
    }
    how = spelling(donor, pieces_of(ours, tmp_path), ours.vocab_size)
    assert renamed and how.pieces[ours.eot] == [donor.specials["<|im_end|>"]]
    assert how.pieces[ours.start_header] == [donor.specials["<|im_start|>"]] and how.pieces[ours.end_header] == []
    assert how.counts["stand_in"] == 4 and how.counts["unknown"] == 2


def qwen(**more: object) -> Qwen2ForCausalLM:
    """Qwen2.5-0.5B's form, small: biases on queries, keys and values, one matrix for both ends, 7 query heads a key."""
    settings = {"vocab_size": 280, "hidden_size": 56, "intermediate_size": 96, "num_hidden_layers": 2,
                "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True,
                "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "initializer_range": 0.3,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}  # fmt: skip
    torch.manual_seed(0)
    made = Qwen2ForCausalLM(Qwen2Config(**{**settings, **more})).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("bias"):
                weight.normal_()
    return made


def test_a_qwen_becomes_the_llama_that_computes_the_same(tmp_path: Path) -> None:
    theirs = qwen()
    theirs.save_pretrained(tmp_path)
    ours, ids = load_as_llama(tmp_path), torch.randint(0, 280, (3, 50))
    assert isinstance(ours, LlamaForCausalLM) and not any(weight.requires_grad for weight in ours.parameters())
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=1e-5, atol=1e-5)
    ours.save_pretrained(tmp_path / "again")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "again")
    assert torch.equal(again(ids).logits, ours(ids).logits)
    how = spelling(*[pieces_of(tokenizer(), tmp_path / "words")] * 2, 280)
    torch.testing.assert_close(transplanted(ours, how)(ids).logits, ours(ids).logits)


def test_a_qwen_of_windows_and_other_families_are_refused(tmp_path: Path) -> None:
    qwen(use_sliding_window=True, sliding_window=16, max_window_layers=0).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"model-unsupported.*Qwen2"):
        load_as_llama(tmp_path)


def bits_a_byte(of: LlamaForCausalLM, rows: list[list[int]], size: int) -> float:
    with torch.no_grad():
        logs = [
            of(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)[range(len(ids) - 1), ids[1:]].sum() for ids in rows
        ]
    return -float(torch.stack(logs).sum()) / size / math.log(2)


def test_a_real_model_knows_its_language_in_other_words(tmp_path: Path) -> None:
    """SentencePiece's 512 words against byte-level ones: far better than rows of chance, and than a shuffled spelling."""
    if not TINY_LLAMA.is_dir():
        miss("COGUMI_DATA")
    donor, theirs = load_as_llama(TINY_LLAMA), read_pieces(TINY_LLAMA)
    torch.manual_seed(0)
    written = donor.generate(torch.full((150, 1), 1), do_sample=True, top_k=0, temperature=0.8, max_new_tokens=100)
    words = [[number for number in row if number in theirs.tokens] for row in written.tolist()]
    texts = [b"".join(theirs.bytes_of(number) or b"" for number in row).decode(errors="ignore") for row in words]
    ours = train_tokenizer(texts[50:], 500)
    size = sum(len(text.encode()) for text in texts[:50])
    rows = [[ours.bos, *ours.encode(text)] for text in texts[:50]]
    how = spelling(theirs, pieces_of(ours, tmp_path), ours.vocab_size)
    known = bits_a_byte(transplanted(donor, how), rows, size)
    by_chance = transplanted(donor, how)
    with torch.no_grad():
        by_chance.get_input_embeddings().weight.normal_(std=float(donor.lm_head.weight.std()))
    order = torch.randperm(len(how.pieces)).tolist()
    shuffled = transplanted(donor, type(how)([how.pieces[number] for number in order], how.counts, how.mean_pieces))
    itself = bits_a_byte(donor, [[1, *row] for row in words[:50]], size)
    assert itself < known < 0.7 * min(bits_a_byte(by_chance, rows, size), bits_a_byte(shuffled, rows, size))
