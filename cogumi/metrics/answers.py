"""Answers in free text: the number, the choice or the boxed expression that is meant; None where there is none.

last_number("so 3 x 14 = 42 apples.")     # "42"
chosen("The answer is (B).", "ABCD")       # "B"
boxed(r"so \\boxed{\\frac{1}{2}}")           # r"\\frac{1}{2}"
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_MARK = re.compile(r"####\s*(.*)")
_CHOICE = r"(?:answer|choice|option)\s*(?:is|:)?\s*\(?\*{{0,2}}([{letters}])\b"


def last_number(text: str) -> str | None:
    """The last number, without thousands separators: after a `####` (GSM8K) where there is one."""
    marked = _MARK.findall(text)
    found = _NUMBER.findall(marked[-1] if marked else text)
    return found[-1].replace(",", "").rstrip(".") if found else None


def same_number(one: str | None, other: str | None) -> bool:
    """Whether both are numbers of one value: 18 and 18.0 are."""
    try:
        return one is not None and other is not None and float(one) == float(other)
    except ValueError:
        return False


def chosen(text: str, letters: str) -> str | None:
    """The letter that an answer settles on: the last one named as the answer, or the only one that stands alone."""
    named = re.findall(_CHOICE.format(letters=letters), text, re.IGNORECASE)
    if named:
        return str(named[-1]).upper()
    alone = re.findall(rf"(?<![\w'])\(?([{letters}])\)?(?![\w'])", text)
    return alone[0] if len(set(alone)) == 1 else None


def boxed(text: str) -> str | None:
    """What stands in the last \\boxed{...} or \\fbox{...} whose braces are balanced; of `\\boxed 5` the 5."""
    for start in sorted((found.end() for found in re.finditer(r"\\(?:boxed|fbox)", text)), reverse=True):
        rest = text[start:].lstrip()
        if rest.startswith("{"):
            inside = _balanced(rest)
            if inside is not None:
                return inside
        elif rest:
            return re.split(r"[\s$.]", rest, maxsplit=1)[0]
    return None


def _balanced(text: str) -> str | None:
    depth = 0
    for place, letter in enumerate(text):
        escaped = place > 0 and text[place - 1] == "\\"
        if letter == "{" and not escaped:
            depth += 1
        elif letter == "}" and not escaped:
            depth -= 1
            if depth == 0:
                return text[1:place]
    return None
