"""BenchmarkRow: one question of a benchmark, in the one form that all converters give.

{"prompt": ..., "responses": [...], "metadata": {"difficulty", "domain", "source", "subject", "scoring", ...}}
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cogumi.errors import InputError

UNKNOWN = "unknown"
"""Where a benchmark says nothing of a difficulty or subject: it is not guessed."""


class Scoring(StrEnum):
    """How an answer is judged."""

    DROP = "drop"
    CHOICE = "choice"
    CODE = "code"
    MATHS = "maths"
    NUMBER = "number"
    RANKED = "ranked"
    """The right one of several answers is the most likely, by nats a letter."""
    VERIFIED = "verified"
    """By the verifier of the question's family, where it has one."""


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """`responses` are the answers that are right, the reference first. `more` is what the scoring needs besides."""

    prompt: str
    responses: tuple[str, ...]
    source: str
    domain: str
    scoring: Scoring
    difficulty: str
    subject: str
    more: dict[str, Any]

    @property
    def key(self) -> str:
        """Of the prompt to the letter, whatever the order of a file."""
        return hashlib.sha256(self.prompt.strip().encode()).hexdigest()[:16]

    @property
    def stratum(self) -> tuple[str, str]:
        return self.difficulty, self.subject

    def to_json(self) -> dict[str, Any]:
        metadata = {
            "difficulty": self.difficulty, "domain": self.domain, "source": self.source, "subject": self.subject,
            "scoring": str(self.scoring), "key": self.key, **self.more,
        }  # fmt: skip
        return {"prompt": self.prompt, "responses": list(self.responses), "metadata": metadata}

    @staticmethod
    def from_json(row: dict[str, Any]) -> BenchmarkRow:
        """Raises InputError suite-unreadable where it is not what `to_json` gives."""
        try:
            more = dict(row["metadata"])
            named = {name: str(more.pop(name)) for name in ("source", "domain", "difficulty", "subject")}
            scoring, key = Scoring(more.pop("scoring")), more.pop("key", None)
            found = BenchmarkRow(row["prompt"], tuple(row["responses"]), scoring=scoring, more=more, **named)
        except KeyError as error:
            raise InputError("suite-unreadable", f"a row has no {error}") from None
        except (TypeError, ValueError) as error:
            raise InputError("suite-unreadable", f"a row that cannot be read: {error}") from None
        if key is not None and key != found.key:
            raise InputError("suite-unreadable", f"the prompt of {key} has been changed")
        return found


def hash_of(text: str) -> str:
    """16 hex digits of a text's SHA-256, its letters alone in lower case: spacing and signs do not count."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(letter for letter in plain if letter.isalnum())
    return hashlib.sha256(letters.encode()).hexdigest()[:16]
