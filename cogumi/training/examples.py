"""Examples that a person brings: JSON lines of one task, as a model is trained on them.

examples = read_examples(Path("mine.jsonl"), tokenizer, PLAIN, most_tokens=2048)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogumi.errors import InputError
from cogumi.lm.chat import ChatFormat, Encoded, encode_examples, response_text
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.store.files import Quarantined, read_foreign_jsonl

_ASKED, _ANSWERED = ("prompt", "question"), ("response", "answer")


def read_examples(file: Path, tokenizer: TrainingTokenizer, form: ChatFormat, most_tokens: int) -> list[Encoded]:
    """Each line has `prompt` and `response` (or `question` and `answer`), and may have `draft` and `thinking`.

    Raises InputError examples-unreadable, which names the line, also for one that is longer than `most_tokens`.
    """
    if not file.is_file():
        raise InputError("examples-unreadable", f"{file}: there is none")
    numbers, pairs = [], []
    for found in read_foreign_jsonl(file):
        if isinstance(found, Quarantined):
            raise InputError("examples-unreadable", f"{file}:{found.line}: {found.reason}")
        number, row = found
        try:
            answer = response_text(_text(row, _ANSWERED), row.get("draft"), row.get("thinking"), form)
            pairs.append((_text(row, _ASKED), answer))
        except ValueError as error:
            raise InputError("examples-unreadable", f"{file}:{number}: {error}") from None
        numbers.append(number)
    examples = encode_examples(tokenizer, pairs, form)
    for number, example in zip(numbers, examples, strict=True):
        if len(example.ids) > most_tokens:
            told = f"{file}:{number}: {len(example.ids)} tokens, the model takes {most_tokens}"
            raise InputError("examples-unreadable", told)
    return examples


def _text(row: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these that the row has; ValueError where it has none, or no words in it."""
    value = next((row[name] for name in names if name in row), None)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"no {' or '.join(names)}")
    return value
