"""Training rows: examples in the second record format, with traits, token counts and their part of the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.split import Part, part_of
from cogumi.domain import Example, Traits
from cogumi.lm.chat import FORMATS, ChatFormat, encode_examples, response_text
from cogumi.lm.tokenizer import TrainingTokenizer, load_tokenizer, train_tokenizer
from cogumi.recipe import DatasetSection
from cogumi.teachers.procedural.classify import classify

_AT_ONCE = 1000
_TRAINED_ON = 20_000  # rows: more change a vocabulary of this size no more


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row of the second format with its part."""

    record: dict[str, Any]
    part: Part

    @property
    def token_count(self) -> int:
        return int(self.record["metadata"]["token_count"])


@dataclass(slots=True)
class RowCounts:
    """What is counted while rows go by: tokens by difficulty and domain, rows by part, task type and who classified."""

    tokens: Counter[str] = field(default_factory=Counter)
    tokens_by_domain: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    task_types: Counter[str] = field(default_factory=Counter)
    classified_by: Counter[str] = field(default_factory=Counter)

    def watch(self, rows: Iterable[TrainingRow]) -> Iterator[TrainingRow]:
        """The same rows, counted as they pass."""
        for row in rows:
            told = row.record["metadata"]
            self.tokens[told["difficulty"]] += row.token_count
            self.tokens_by_domain[told["domain"]] += row.token_count
            self.parts[row.part] += 1
            self.task_types[f"{told['domain']}/{told['task_type']}"] += 1
            self.classified_by[told["classified_by"]] += 1
            yield row

    def to_json(self) -> dict[str, Any]:
        return {
            "tokens": dict(sorted(self.tokens.items())),
            "tokens_by_domain": dict(sorted(self.tokens_by_domain.items())),
            "split": dict(sorted(self.parts.items())),
            "task_types": dict(sorted(self.task_types.items())),
            "classified_by": dict(sorted(self.classified_by.items())),
        }


def open_tokenizer(section: DatasetSection, examples: Iterable[Example], rows: int) -> TrainingTokenizer:
    """The tokenizer that the recipe names, or one trained on these examples, of which there are `rows`.

    Raises InputError tokenizer-unreadable, tokenizer-lacks-specials.
    """
    if section.tokenizer.path is not None:
        return load_tokenizer(Path(section.tokenizer.path))
    form = FORMATS[section.chat_format]
    some = islice(examples, 0, None, max(1, rows // _TRAINED_ON))
    texts = (text for example in some for text in (example.question.text, assistant_text(example, form)))
    return train_tokenizer(texts, section.tokenizer.vocab_size)


def training_rows(
    examples: list[Example], groups: dict[str, str], section: DatasetSection, tokenizer: TrainingTokenizer
) -> Iterator[TrainingRow]:
    """The rows in the order of the examples. `token_count` is that of the whole training text, template included.

    Args:
        groups: fingerprint of a question -> that of the first question of its near-duplicates.
    """
    form = FORMATS[section.chat_format]
    for start in range(0, len(examples), _AT_ONCE):
        part = examples[start : start + _AT_ONCE]
        encoded = encode_examples(tokenizer, [(e.question.text, assistant_text(e, form)) for e in part], form)
        for example, tokens in zip(part, encoded, strict=True):
            mark = fingerprint(example.question.text)
            record = example.to_prompt_record(traits_of(example), len(tokens.ids))
            yield TrainingRow(record, part_of(groups.get(mark, mark), section.split))


def assistant_text(example: Example, form: ChatFormat) -> str:
    """What the assistant is trained to say."""
    reasoning = example.reasoning
    if reasoning is None:
        return response_text(example.answer, None, None, form)
    return response_text(example.answer, reasoning.draft, reasoning.critique, form)


def traits_of(example: Example) -> Traits:
    """The question's traits; for runs older than classification, what its family or the rules say."""
    question = example.question
    return question.traits or classify(question.text, question.cell.domain, str(question.cell.difficulty))
