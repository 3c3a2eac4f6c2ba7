"""Candidates: the system prompts that are compared, from files or the project's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cogumi.dataset.prompts import answer_prompt
from cogumi.errors import InputError

BUILTIN, GUIDED = "builtin", "builtin+guide"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A system prompt by the name that it was given."""

    name: str
    system: str


def read_candidate(name: str, hard: bool) -> Candidate:
    """`builtin` and `builtin+guide` are the project's own prompts; any other name is a file.

    Raises InputError prompt-unreadable, also for the guide where questions are easy.
    """
    if name == BUILTIN:
        return Candidate(name, answer_prompt("", hard).system)
    if name == GUIDED:
        if not hard:
            raise InputError("prompt-unreadable", f"{name}: there is a guide for hard questions only")
        return Candidate(name, answer_prompt("", hard, guided=True).system)
    try:
        text = Path(name).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("prompt-unreadable", f"{name}: {error}") from None
    if not text:
        raise InputError("prompt-unreadable", f"{name}: the file is empty")
    return Candidate(name, text)
