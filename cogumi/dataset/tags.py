"""The tags of a hard answer: draft, critique, revised and answer, despite case, nesting, tags in code and missing
closers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cogumi.domain import Reasoning

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_THINKING = re.compile(r"<\s*thinking\s*>", re.IGNORECASE)
_END_THINKING = re.compile(r"<\s*/\s*thinking\s*>", re.IGNORECASE)
_ANSWER = re.compile(r"<\s*answer\s*>", re.IGNORECASE)
_END_ANSWER = re.compile(r"<\s*/\s*answer\s*>", re.IGNORECASE)
_SECTION = re.compile(
    r"^[ \t]*[*#_]*[ \t]*(?:\[\s*(DRAFT|CRITIQUE|REVISED)\s*\]|<\s*(draft|critique|revised)\s*>)[ \t]*[*_]*[ \t]*:?",
    re.IGNORECASE | re.MULTILINE,
)
_CLOSER = re.compile(r"<\s*/\s*(?:draft|critique|revised)\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TaggedAnswer:
    """A parsed hard answer; `reason` is empty where it is whole."""

    reasoning: Reasoning | None
    answer: str
    reason: str


def parse_tagged(text: str) -> TaggedAnswer:
    """Split a reply into its sections. Never raises; `reason` says what is missing."""
    shown = _blank_code(text)  # same length: places found here hold in `text`
    opening = list(_ANSWER.finditer(shown))
    if not opening:
        return TaggedAnswer(None, "", "no-answer-tag")
    place = _outermost(opening, shown)
    answer = _answer_text(text, shown, place)
    if not answer:
        return TaggedAnswer(None, "", "empty-answer")
    thinking = _thinking_text(text, shown, place.start())
    sections = _sections(*thinking)
    missing = [name for name in ("draft", "critique", "revised") if not sections.get(name)]
    if missing:
        return TaggedAnswer(None, answer, f"no-{missing[0]}")
    return TaggedAnswer(Reasoning(sections["draft"], sections["critique"], sections["revised"]), answer, "")


def _blank_code(text: str) -> str:
    """The text with code spans overwritten by spaces, so that tags inside code are not tags."""
    blanked = _CODE.sub(lambda found: " " * len(found[0]), text)
    # An unclosed fence would hide everything after it, the real tags too: then only closed code is blanked.
    if _ANSWER.search(blanked) or not _ANSWER.search(text):
        return blanked
    return re.sub(r"```.*?```", lambda found: " " * len(found[0]), text, flags=re.DOTALL)


def _outermost(opening: list[re.Match[str]], shown: str) -> re.Match[str]:
    """The answer tag after the thinking ends; of nested ones the first."""
    end = _END_THINKING.search(shown)
    after = [match for match in opening if end is None or match.start() >= end.end()]
    return after[0] if after else opening[-1]


def _answer_text(text: str, shown: str, place: re.Match[str]) -> str:
    closings = [match for match in _END_ANSWER.finditer(shown) if match.start() >= place.end()]
    inner = text[place.end() : closings[-1].start() if closings else len(text)]
    return re.sub(r"(?i)^\s*<\s*answer\s*>\s*|\s*<\s*/\s*answer\s*>\s*$", "", inner).strip()


def _thinking_text(text: str, shown: str, before: int) -> tuple[str, str]:
    """The text and its blanked form between the thinking tags; a missing closer means: up to the answer."""
    start = _THINKING.search(shown)
    begin = start.end() if start and start.start() < before else 0
    end = _END_THINKING.search(shown, begin)
    stop = end.start() if end and end.start() <= before else before
    return text[begin:stop], shown[begin:stop]


def _sections(text: str, shown: str) -> dict[str, str]:
    heads = list(_SECTION.finditer(shown))
    found: dict[str, str] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        name = (head[1] or head[2]).lower()
        body = text[head.end() : following.start() if following else len(text)]
        found.setdefault(name, _CLOSER.sub("", body).strip())
    return found
