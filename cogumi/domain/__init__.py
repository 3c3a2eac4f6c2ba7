"""The nouns: frozen values that every stage passes on. No I/O, no torch."""

from cogumi.domain.cells import DIFFICULTIES, DOMAINS, Cell, Difficulty
from cogumi.domain.example import Example, Reasoning
from cogumi.domain.question import Judgement, Question, Rejected, utc
from cogumi.domain.traits import Traits

__all__ = [
    "DIFFICULTIES",
    "DOMAINS",
    "Cell",
    "Difficulty",
    "Example",
    "Judgement",
    "Question",
    "Reasoning",
    "Rejected",
    "Traits",
    "utc",
]
