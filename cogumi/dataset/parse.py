"""From a model's reply to rows: fences, prose, trailing commas, single quotes, raw backslashes, cut-off arrays and
more.

Sound JSON takes the fast way. Anything else goes through a tolerant reader that keeps every complete object it
finds; what is left over becomes Rejected(reason), is counted, and its raw reply stays in the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from cogumi.dataset.tolerant_json import objects_in

LEAST_CHARACTERS = 8
MOST_CHARACTERS = 12_000
MOST_REPLY_CHARACTERS = 1 << 20
_QUESTION_KEYS = ("question", "text", "prompt", "instruction", "q")
_NUMBERED = re.compile(r"^\s*(?:\d{1,3}[.):]|[-*])\s+(.+?)\s*$", re.MULTILINE)
_SCORES = ("clarity", "relevance", "difficulty", "quality")
_SCORE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:/\s*10)?\s*")
# Escapes that JSON reads as control characters where a model meant LaTeX: "\frac" becomes a form feed and "rac".
_LATEX = re.compile(
    r"\x0c(?=rac|orall|lat)|\x08(?=eta|inom|ar\b|oldsymbol|ig)|\t(?=imes|heta|ext|an\b|au\b|o\b|riangle|frac)|\r(?=ho\b|ight)|\n(?=eq\b|abla|eg\b|u\b|ot\b)"
)
_LATEX_LETTER = {"\x0c": "\\f", "\x08": "\\b", "\t": "\\t", "\r": "\\r", "\n": "\\n"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\ufeff]")


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """One question of a reply; `reason` is empty where it is usable."""

    text: str
    topic: str
    reason: str


def parse_questions(reply: str) -> list[ParsedQuestion]:
    """Every question in a reply, usable or not. Never raises; an unreadable reply gives one entry with a reason."""
    rows = _rows(reply)
    if not rows:
        found = [text for text in _NUMBERED.findall(reply) if len(text) >= LEAST_CHARACTERS]
        rows = [{"question": text} for text in found]
    if not rows:
        return [ParsedQuestion(reply[:400], "", "empty-reply" if not reply.strip() else "not-a-list")]
    return [_question(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's row: four scores, and the row itself for the traits it may hold."""

    scores: dict[str, float]
    row: dict[str, Any]


def parse_verdicts(reply: str) -> dict[int, Verdict]:
    """Verdicts by question number; rows whose scores are not whole are left out. Never raises."""
    found: dict[int, Verdict] = {}
    for row in _rows(reply):
        if not isinstance(row, dict):
            continue
        number, scores = _score(row.get("id")), {name: _score(row.get(name)) for name in _SCORES}
        if (
            number is None
            or number != int(number)
            or any(value is None or not 0 <= value <= 10 for value in scores.values())
        ):
            continue
        whole = {name: value for name, value in scores.items() if value is not None}
        found.setdefault(int(number), Verdict(whole, row))
    return found


def parse_pair(reply: str) -> tuple[float, float] | None:
    """The scores of the first and the second answer of a pair, or None where one is missing. Never raises."""
    found: dict[float, float] = {}
    for row in _rows(reply):
        if isinstance(row, dict):
            number, score = _score(row.get("id")), _score(row.get("score"))
            if number is not None and score is not None and 0 <= score <= 10:
                found.setdefault(number, score)
    return (found[1], found[2]) if found.keys() >= {1, 2} else None


def clean(text: str) -> str:
    """The text without control characters and surrounding space, LaTeX commands restored, line ends as \\n."""
    restored = _LATEX.sub(lambda found: _LATEX_LETTER[found[0]], text)
    return _CONTROL.sub("", restored.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _rows(reply: str) -> list[Any]:
    if len(reply) > MOST_REPLY_CHARACTERS:
        return []
    try:
        rows = _inner_list(orjson.loads(reply))
    except orjson.JSONDecodeError:
        return objects_in(reply)
    doubled = reply.count('"question":') > len(
        rows
    )  # orjson keeps the last of doubled keys, the reader below the first
    return objects_in(reply) if doubled else rows


def _inner_list(value: Any) -> list[Any]:
    """A list as it is; an object that wraps one list, such as {"questions": [...]}, as that list."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        return lists[0] if len(lists) == 1 and not any(key in value for key in _QUESTION_KEYS) else [value]
    return []


def _question(row: Any) -> ParsedQuestion:
    if isinstance(row, str):
        row = {"question": row}
    if not isinstance(row, dict):
        return ParsedQuestion(str(row)[:400], "", "not-an-object")
    text = next((row[key] for key in _QUESTION_KEYS if key in row), None)
    topic = clean(row["topic"])[:80] if isinstance(row.get("topic"), str) else ""
    if text is None:
        return ParsedQuestion(str(row)[:400], topic, "no-question-field")
    if not isinstance(text, str):
        return ParsedQuestion(str(text)[:400], topic, "question-not-text")
    text = clean(text)
    if len(text) < LEAST_CHARACTERS:
        return ParsedQuestion(text, topic, "too-short")
    if len(text) > MOST_CHARACTERS:
        return ParsedQuestion(text[:400], topic, "too-long")
    return ParsedQuestion(text, topic, "")


def _score(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    found = _SCORE.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) if found else None
