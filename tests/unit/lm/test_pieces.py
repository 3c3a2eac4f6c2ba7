"""What tokens stand for in bytes: against each tokenizer's own decoder, on every token, and on any bytes."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from cogumi.errors import InputError
from cogumi.lm.pieces import Pieces, read_pieces
from cogumi.lm.tokenizer import train_tokenizer
from tests.skipped import miss

TEXTS = ["the cat sat on the mat", "what is naïve about a naïve Bayes? 東京 is a city", "12 + 345 = 357\n\n\tif x:"]
TINY_LLAMA = Path(os.environ.get("COGUMI_DATA", "nowhere")).parent / "models" / "tiny-llama-231k"


def byte_level(tmp_path: Path) -> Pieces:
    train_tokenizer(TEXTS, 400).save(tmp_path)
    return read_pieces(tmp_path)


def sentencepiece() -> Pieces:
    """As Llama 2's tokenizer is laid out: spaces as a sign of their own, bytes to fall back on, a prefix space."""
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))], show_progress=False
    )
    inner.train_from_iterator([text.replace("東京", "") for text in TEXTS], trainer)
    told = inner.to_str()
    inner = Tokenizer.from_str(told)
    inner.add_special_tokens(specials)
    return Pieces(Tokenizer.from_str(_bytes_not_special(inner.to_str())), "made here")


def _bytes_not_special(told: str) -> str:
    """The trainer makes the bytes special tokens; in Llama 2's file they are words."""
    import json

    found = json.loads(told)
    found["added_tokens"] = [token for token in found["added_tokens"] if not token["content"].startswith("<0x")]
    return json.dumps(found)


@pytest.mark.parametrize("kind", ["byte level", "sentencepiece"])
def test_any_bytes_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    pieces = byte_level(tmp_path) if kind == "byte level" else sentencepiece()
    assert pieces.byte_level == (kind == "byte level")
    rng = Random(0)
    noise = [rng.randbytes(rng.randrange(1, 20)) for _ in range(300)]
    for text in [b" the", b"the", "naïve 東京".encode(), b"\xe6\x9d", "▁ ▁".encode(), b"<s></s><0x0A>", b"\n", *noise]:
        spelled = pieces.spell(text)
        assert spelled is not None and b"".join(pieces.bytes_of(number) or b"?" for number in spelled) == text


@pytest.mark.parametrize("kind", ["byte level", "sentencepiece"])
def test_every_word_spells_itself_and_no_special_token_is_one(kind: str, tmp_path: Path) -> None:
    pieces = byte_level(tmp_path) if kind == "byte level" else sentencepiece()
    for number, token in pieces.tokens.items():
        text = pieces.bytes_of(number)
        assert text, token
        spelled = pieces.spell(text)
        assert spelled is not None and len(spelled) <= len(text)
        if spelled != [number]:  # a sign that was learned as a word of its own before its merge, or a byte that is one
            assert b"".join(pieces.bytes_of(each) or b"?" for each in spelled) == text
    assert not set(pieces.specials.values()) & set(pieces.tokens) and all(
        pieces.bytes_of(number) is None for number in pieces.specials.values()
    )
    assert pieces.bytes_of(10**6) is None


def test_words_of_a_byte_level_tokenizer_are_those_that_text_becomes(tmp_path: Path) -> None:
    made = train_tokenizer(TEXTS, 400)
    made.save(tmp_path)
    pieces = read_pieces(tmp_path)
    for word in ("the", " cat", " naïve", "東京"):
        assert pieces.spell(word.encode()) == made.encode(word)


def test_a_real_llamas_tokenizer() -> None:
    if not TINY_LLAMA.is_dir():
        miss("COGUMI_DATA")
    pieces, inner = read_pieces(TINY_LLAMA), Tokenizer.from_file(str(TINY_LLAMA / "tokenizer.json"))
    text = "the embeddings of the hum unfold"
    assert pieces.spell(f" {text}".encode()) == inner.encode(text, add_special_tokens=False).ids
    assert len(pieces.tokens) == 509 and set(pieces.specials) == {"<unk>", "<s>", "</s>"}


def test_tokenizers_of_another_kind_are_refused(tmp_path: Path) -> None:
    inner = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"tokenizer-of-another-kind.*WordLevel"):
        read_pieces(tmp_path)
    Tokenizer(models.BPE({"a": 0}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"tokenizer-of-another-kind"):
        read_pieces(tmp_path)


def test_a_byte_that_is_lacking_is_said(tmp_path: Path) -> None:
    inner = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces = Pieces(inner, "a and b")
    assert pieces.spell(b"abb") == [2, 1] and pieces.spell(b"abc") is None
