"""Hidden questions: known-good and known-bad ones slipped into the judge's calls, to measure the judge itself."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from cogumi.domain import Cell
from cogumi.teachers.procedural import by_domain
from cogumi.teachers.procedural.defects import DEFECTS, spoil


@dataclass(frozen=True, slots=True)
class Hidden:
    """A question whose verdict is known; `kind` is "good" or the defect."""

    text: str
    good: bool
    kind: str


def hidden_questions(cell: Cell, count: int, rng: Random) -> list[Hidden]:
    """`count` hidden questions for a cell, good and bad by turns from a random start; none for domains without
    families.
    """
    families = by_domain(cell.domain)
    if not families:
        return []
    first_good = rng.random() < 0.5
    made = []
    for number in range(count):
        text = rng.choice(families).generate(rng, cell.difficulty).question
        if (number % 2 == 0) == first_good:
            made.append(Hidden(text, True, "good"))
        else:
            defect = rng.choice(DEFECTS)
            made.append(Hidden(spoil(defect, text, cell.domain, cell.difficulty, rng), False, defect))
    return made
