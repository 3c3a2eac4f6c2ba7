"""Pieces: what a tokenizer's tokens stand for in bytes, and how it spells any bytes.

    pieces = read_pieces(Path("model/tokenizer.json"))
    pieces.spell(b" the")      # ids, never a special token among them

Two kinds are known: byte-level BPE (GPT-2, Llama 3, Qwen) and SentencePiece's BPE with bytes to fall back on (Llama 2,
TinyLlama). Text goes straight to the merges: no prefix space is added, nothing is normalised, no special token is read.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import orjson
from tokenizers import Tokenizer

from cogumi.errors import InputError
from cogumi.lm.tokenizer import read_tokenizer

_SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Pieces:
    """A tokenizer as a code for bytes."""

    def __init__(self, inner: Tokenizer, source: str) -> None:
        """`source` is named in errors. Raises InputError tokenizer-of-another-kind."""
        told = orjson.loads(inner.to_str())
        model = told["model"]
        self.byte_level = "ByteLevel" in str(told.get("pre_tokenizer")) or "ByteLevel" in str(told.get("decoder"))
        if model.get("type") != "BPE" or not (self.byte_level or model.get("byte_fallback")):
            raise InputError("tokenizer-of-another-kind", f"{source}: {model.get('type')}")
        self._model = inner.model
        self.specials: dict[str, int] = {
            token.content: number for number, token in inner.get_added_tokens_decoder().items() if token.special
        }
        self.vocabulary: dict[str, int] = inner.get_vocab(with_added_tokens=True)
        special = set(self.specials.values())
        self.tokens = {number: token for token, number in self.vocabulary.items() if number not in special}

    def bytes_of(self, number: int) -> bytes | None:
        """What a token stands for; None for a special one, and for a number without a token."""
        token = self.tokens.get(number)
        if token is None:
            return None
        if self.byte_level:
            known = _bytes_by_letter()
            return bytes(known[letter] for letter in token) if all(letter in known for letter in token) else None
        alone = _BYTE.fullmatch(token)
        return bytes([int(alone[1], 16)]) if alone else token.replace(_SPACE, " ").encode()

    def spell(self, text: bytes) -> list[int] | None:
        """The tokens that these bytes become; None where the tokenizer lacks one of them."""
        if self.byte_level:
            pieces = self._model.tokenize("".join(_letters()[byte] for byte in text))
            whole = sum(len(piece.value) for piece in pieces) == len(text)  # a letter that it lacks is left out
            return [piece.id for piece in pieces] if whole else None
        found: list[int | None] = []
        for part in _runs(text):
            if isinstance(part, str):
                found += [piece.id for piece in self._model.tokenize(part.replace(" ", _SPACE))]
            else:
                found += [self._model.token_to_id(f"<0x{byte:02X}>") for byte in part]
        known = [number for number in found if number is not None and number in self.tokens]
        return known if len(known) == len(found) else None


def read_pieces(file: Path) -> Pieces:
    """Of a folder or a file. Raises InputError tokenizer-unreadable, tokenizer-of-another-kind."""
    return Pieces(read_tokenizer(file), str(file))


def _runs(text: bytes) -> list[str | bytes]:
    """Text where it can be read as such, else bytes; SentencePiece's sign for a space goes as bytes too."""
    found: list[str | bytes] = []
    for number, part in enumerate(text.split(_SPACE.encode())):
        found += [_SPACE.encode()] if number else []
        while part:
            try:
                found.append(part.decode())
                break
            except UnicodeDecodeError as error:
                found += [part[: error.start].decode()] if error.start else []
                found.append(part[error.start : error.end])
                part = part[error.end :]
    return found


@cache
def _letters() -> list[str]:
    """GPT-2's letter of each byte: itself where it is printable, else one from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


@cache
def _bytes_by_letter() -> dict[str, int]:
    return {letter: byte for byte, letter in enumerate(_letters())}
