"""A tolerant JSON reader: every complete object in a text, whatever stands around it.

Beyond JSON it takes single quotes, trailing commas, unknown escapes, raw control characters, comments of no kind,
NaN and Python's True, False, None. A doubled key keeps its first value. An object cut off by the end of the text is
dropped. Nesting is limited, so hostile input cannot exhaust the stack.
"""

from __future__ import annotations

import re
from typing import Any

_DEPTH = 40
_WORDS = {
    "true": True, "false": False, "null": None, "True": True, "False": False, "None": None,
    "NaN": None, "Infinity": None, "-Infinity": None, "nan": None, "inf": None,
}  # fmt: skip
_BARE = re.compile(r"-?[A-Za-z0-9_.+-]+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LETTERS = re.compile(r"[a-z]{2,12}")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}


class _Broken(Exception):
    """The text at this place is not what was expected, or ends."""


def objects_in(text: str) -> list[Any]:
    """The objects of a text in order: elements of its arrays, and objects that stand alone."""
    found: list[Any] = []
    at = 0
    while (at := _next_opening(text, at)) >= 0:
        reader = _Reader(text, at)
        if text[at] == "[":
            found += reader.elements()
            at = max(reader.at, at + 1)
            continue
        try:
            found.append(reader.value(0))
            at = reader.at
        except _Broken:
            at += 1
    return found


def _next_opening(text: str, at: int) -> int:
    places = [place for place in (text.find("[", at), text.find("{", at)) if place >= 0]
    return min(places, default=-1)


class _Reader:
    """A cursor over the text."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def elements(self) -> list[Any]:
        """The complete objects and long strings of the array that opens here, as far as it can be read."""
        self.at += 1
        found: list[Any] = []
        while True:
            self._skip(" \t\r\n,")
            if self.at >= len(self.text) or self.text[self.at] == "]":
                self.at += 1
                return found
            start = self.at
            try:
                value = self.value(1)
            except _Broken:
                self.at = self._after_broken(start)
                return found
            if isinstance(value, dict | list) or (isinstance(value, str) and len(value) > 3):
                found.append(value)

    def value(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise _Broken
        self._skip(" \t\r\n")
        here = self._peek()
        if here == "{":
            return self._object(depth)
        if here == "[":
            return self._array(depth)
        if here in "\"'":
            return self._string(here)
        return self._bare()

    def _object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        pairs: dict[str, Any] = {}
        while True:
            self._skip(" \t\r\n,")
            here = self._peek()
            if here == "}":
                self.at += 1
                return pairs
            key = self._string(here) if here in "\"'" else str(self._bare())
            self._skip(" \t\r\n")
            if self._peek() != ":":
                raise _Broken
            self.at += 1
            pairs.setdefault(key, self.value(depth + 1))

    def _array(self, depth: int) -> list[Any]:
        self.at += 1
        values: list[Any] = []
        while True:
            self._skip(" \t\r\n,")
            if self._peek() == "]":
                self.at += 1
                return values
            values.append(self.value(depth + 1))

    def _string(self, quote: str) -> str:
        self.at += 1
        parts: list[str] = []
        while True:
            here = self._peek()
            self.at += 1
            if here == quote:
                return "".join(parts)
            parts.append(self._escape() if here == "\\" else here)

    def _escape(self) -> str:
        """One escape; an unknown one, as in a raw \\alpha, stays as it is written."""
        here = self._peek()
        self.at += 1
        if here == "u":
            digits = self.text[self.at : self.at + 4]
            if re.fullmatch(r"[0-9a-fA-F]{4}", digits):
                self.at += 4
                code = int(digits, 16)
                return chr(code) if not 0xD800 <= code <= 0xDFFF else "\ufffd"
            return "\\u"
        if self._starts_command(here):
            return "\\" + here
        return _ESCAPES.get(here, "\\" + here)

    def _starts_command(self, letter: str) -> bool:
        """Whether a backslash before b, f, n, r, t is LaTeX's: a longer run of letters with no space follows."""
        if letter not in "bfrt":
            return False
        word = _LETTERS.match(self.text, self.at)
        return word is not None and (letter + word[0]).startswith(_COMMANDS)

    def _bare(self) -> Any:
        found = _BARE.match(self.text, self.at)
        if found is None:
            raise _Broken
        word = found[0]
        self.at = found.end()
        if word in _WORDS:
            return _WORDS[word]
        if _NUMBER.fullmatch(word):
            return float(word) if any(c in word for c in ".eE") else int(word[:300])
        return word

    def _after_broken(self, start: int) -> int:
        """Where to look on: at the next object that opens after the broken one began."""
        following = self.text.find("{", start + 1)
        return following if following >= 0 else len(self.text)

    def _peek(self) -> str:
        if self.at >= len(self.text):
            raise _Broken
        return self.text[self.at]

    def _skip(self, characters: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1


_COMMANDS = (
    "frac",
    "forall",
    "flat",
    "beta",
    "binom",
    "bar",
    "big",
    "boldsymbol",
    "rho",
    "right",
    "times",
    "theta",
    "text",
    "tan",
    "tau",
    "triangle",
    "tfrac",
)
