"""Balance: from existing questions, which are never spread evenly, at most so many rows a cell and tokens a domain.

Which rows stay is decided by each row's own hash, so that more rows on the same side change nothing on the other. What
is missing is counted: nobody is to learn from a report alone that a domain is half empty.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cogumi.dataset.duplicates import fingerprint
from cogumi.domain import Question
from cogumi.lm.tokenizer import train_tokenizer
from cogumi.recipe import DatasetSection

CountTokens = Callable[[list[str]], list[int]]
_VOCABULARY = 4096


@dataclass(slots=True)
class Balanced:
    """What stays, in its old order; rows left out by cell; rows that cells lack; tokens that stay, by domain."""

    kept: list[Question]
    surplus: Counter[str] = field(default_factory=Counter)
    missing: dict[str, int] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {
            "surplus": dict(sorted(self.surplus.items())),
            "missing": dict(sorted(self.missing.items())),
            "question_tokens": dict(sorted(self.tokens.items())),
        }


def balance_questions(questions: list[Question], section: DatasetSection, count_tokens: CountTokens) -> Balanced:
    """Apply the recipe's balance section to existing questions."""
    wanted = {f"{d}/{k}": n for d, counts in section.cells.items() for k, n in counts.items()}
    cap_cells, cap_tokens = section.balance.to_cells, section.balance.max_question_tokens_per_domain
    sizes = count_tokens([question.text for question in questions])
    rows: Counter[str] = Counter()
    balanced = Balanced([])
    stays: set[int] = set()
    for place in sorted(range(len(questions)), key=lambda n: _lot(questions[n])):
        cell = questions[place].cell
        full = cap_cells and rows[str(cell)] >= wanted.get(str(cell), 0)
        over = cap_tokens is not None and balanced.tokens[cell.domain] + sizes[place] > cap_tokens
        if full or over:
            balanced.surplus[str(cell)] += 1
            continue
        stays.add(place)
        rows[str(cell)] += 1
        balanced.tokens[cell.domain] += sizes[place]
    balanced.kept = [question for place, question in enumerate(questions) if place in stays]
    if cap_cells:
        balanced.missing = {cell: count - rows[cell] for cell, count in wanted.items() if rows[cell] < count}
    return balanced


def by_own_tokenizer(texts: list[str]) -> list[int]:
    """Tokens of each text by a tokenizer trained on all of them."""
    tokenizer = train_tokenizer(texts, _VOCABULARY)
    return [len(ids) for ids in tokenizer.encode_many(texts)]


def _lot(question: Question) -> str:
    return hashlib.sha256(f"balance/{fingerprint(question.text)}".encode()).hexdigest()
