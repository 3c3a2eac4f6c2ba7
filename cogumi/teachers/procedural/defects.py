"""Defects: the ways in which generated questions go wrong, to give a judge something to find, and to measure whether it does."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from cogumi.domain import DOMAINS, Difficulty
from cogumi.teachers.procedural.catalogue import by_domain

DEFECTS = ("cut-off", "garbled", "placeholder", "other-domain", "other-difficulty", "empty-talk")
_PLACEHOLDER = re.compile(r"\[(?:insert|your|number|name|topic)\b|\bTODO\b|\{\w+\}|<\w+_here>", re.IGNORECASE)
_SYMBOLS = re.compile(r"[#@^~|\\�]{3,}")
_LAST_CHOICE = re.compile(r"\n[B-H][.)] .+\Z")  # the last of several options needs no full stop
_EMPTY_TALK = "Here is another interesting question for you to think about."


def spoil(defect: str, text: str, domain: str, difficulty: Difficulty, rng: Random) -> str:
    """The question with one defect."""
    return _SPOILERS[defect](text, domain, difficulty, rng)


def looks_defective(text: str) -> bool:
    """Whether the form alone shows a defect: cut off, garbled, a placeholder left in, nothing asked."""
    body = text.strip()
    if len(body) < 8 or _PLACEHOLDER.search(body) or _SYMBOLS.search(body) or body == _EMPTY_TALK:
        return True
    if len(body.split()) <= 6 or _LAST_CHOICE.search(body):
        return False
    return body[-1].isalpha() or body[-1] in ",;:"


def _cut_off(text: str, domain: str, difficulty: Difficulty, rng: Random) -> str:
    words = text.split()
    kept = words[: max(7, len(words) // 2)]
    while kept and not kept[-1][-1].isalpha():
        kept.pop()
    return " ".join(kept) if len(kept) > 6 else " ".join(words[:6]) + " and then the"


def _garbled(text: str, domain: str, difficulty: Difficulty, rng: Random) -> str:
    words = text.split()
    for _ in range(max(2, len(words) // 6)):
        place = rng.randrange(len(words))
        words[place] = "".join(rng.choice("#@^~|") for _ in range(rng.randrange(3, 7)))
    return " ".join(words)


def _placeholder(text: str, domain: str, difficulty: Difficulty, rng: Random) -> str:
    words = text.split()
    words[rng.randrange(1, len(words))] = "[insert number]"
    return " ".join(words)


def _other_domain(text: str, domain: str, difficulty: Difficulty, rng: Random) -> str:
    other = rng.choice([name for name in DOMAINS if name != domain and by_domain(name)])
    return rng.choice(by_domain(other)).generate(rng, difficulty).question


def _other_difficulty(text: str, domain: str, difficulty: Difficulty, rng: Random) -> str:
    other = Difficulty.HARD if difficulty is Difficulty.EASY else Difficulty.EASY
    return rng.choice(by_domain(domain)).generate(rng, other).question


def _empty_talk(text: str, domain: str, difficulty: Difficulty, rng: Random) -> str:
    return _EMPTY_TALK


_SPOILERS: dict[str, Callable[[str, str, Difficulty, Random], str]] = {
    "cut-off": _cut_off,
    "garbled": _garbled,
    "placeholder": _placeholder,
    "other-domain": _other_domain,
    "other-difficulty": _other_difficulty,
    "empty-talk": _empty_talk,
}
