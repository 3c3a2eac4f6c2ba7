"""Family: a kind of question with a seeded generator, a solver that shows its steps, and a verifier.

A family's templates work both ways: they render parameters into a question, and read the parameters back
out of a question's text. So a question alone is enough to answer or verify it, with nothing remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

import orjson

from cogumi.domain import Difficulty

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Solution:
    """The gold answer, the steps that lead to it, and what a careful person would check."""

    answer: str
    steps: tuple[str, ...]
    check: str


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type of field looks in a question."""

    pattern: str
    show: Callable[[Any], str]
    read: Callable[[str], Any]


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


CODECS: dict[str, Codec] = {
    "int": Codec(r"-?\d+", str, int),
    "word": Codec(r"[A-Za-z]+", str, str),
    "phrase": Codec(r"[A-Za-z][A-Za-z '-]*", str, str),
    "ints": Codec(r"-?\d+(?:, -?\d+)*", lambda v: ", ".join(map(str, v)), lambda t: tuple(map(int, t.split(", ")))),
    "words": Codec(r"[A-Za-z' -]+(?:, [A-Za-z' -]+)*", ", ".join, _split),
    "clock": Codec(r"\d\d:\d\d", str, str),
    "date": Codec(r"\d{4}-\d\d-\d\d", str, str),
    "lines": Codec(r"[^\n]+(?:\n[^\n]+)*", "\n".join, lambda t: tuple(t.split("\n"))),
    "json": Codec(r"[\[{].*[\]}]", lambda v: orjson.dumps(v).decode(), orjson.loads),
    "code_name": Codec(r"[a-z_]+", str, str),
    "task": Codec(r"[A-Za-z0-9' ,;.\[\]()-]+", str, str),
    "code": Codec(r"```python\n.*?\n```", lambda v: f"```python\n{v}\n```", lambda t: t[10:-4]),
}
_FIELD = re.compile(r"\{(\w+):(\w+)\}")


class Template:
    """Question text with typed fields, e.g. "What is {a:int} + {b:int}?"."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.fields = {name: CODECS[kind] for name, kind in _FIELD.findall(text)}
        pieces = _FIELD.split(text)
        seen: set[str] = set()
        pattern = re.escape(pieces[0])
        for name, kind, literal in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{CODECS[kind].pattern})"
            pattern += re.escape(literal)
            seen.add(name)
        self._regex = re.compile(pattern, re.DOTALL)

    def render(self, params: Params) -> str:
        return _FIELD.sub(lambda found: CODECS[found[2]].show(params[found[1]]), self.text)

    def read(self, question: str) -> dict[str, Any] | None:
        found = self._regex.fullmatch(question)
        if found is None:
            return None
        try:
            return {name: self.fields[name].read(text) for name, text in found.groupdict().items()}
        except ValueError:
            return None


Sample = Callable[[Random, bool], dict[str, Any]]
Solve = Callable[[Params], Solution]
Verify = Callable[[Params, str], bool]


@dataclass(frozen=True)
class Family:
    """One kind of question. `easy` and `hard` are templates for the two difficulties; `hard` may be the same questions
    with larger parameters, which `sample` decides by its second argument.

    `runs_code` marks families whose answers are programs: their verifier needs the sandbox, not `verify`.
    """

    name: str
    domain: str
    task_type: str
    easy: tuple[str, ...]
    hard: tuple[str, ...]
    sample: Sample
    solve: Solve
    verify: Verify
    mutate: Callable[[Params, str, Random], str] = field(default=lambda params, answer, rng: mutate_text(answer, rng))
    runs_code: bool = False

    @cached_property
    def templates(self) -> dict[Difficulty, tuple[Template, ...]]:
        return {
            Difficulty.EASY: tuple(map(Template, self.easy)),
            Difficulty.HARD: tuple(map(Template, self.hard)),
        }

    def generate(self, rng: Random, difficulty: Difficulty) -> Task:
        """One question; the same generator state gives the same question."""
        template = rng.choice(self.templates[difficulty])
        params = self.sample(rng, difficulty is Difficulty.HARD)
        return Task(self, difficulty, template.render(params), {name: params[name] for name in template.fields})

    def read(self, question: str) -> Task | None:
        """The task a question's text states, or None where it is not of this family."""
        for difficulty, templates in self.templates.items():
            for template in templates:
                params = template.read(question)
                if params is not None:
                    return Task(self, difficulty, question, params)
        return None


@dataclass(frozen=True)
class Task:
    """One question of a family with its parameters."""

    family: Family
    difficulty: Difficulty
    question: str
    params: Params

    @cached_property
    def solution(self) -> Solution:
        return self.family.solve(self.params)

    def verify(self, answer: str) -> bool:
        """Whether an answer is right, by the family's own rule. Families with `runs_code` need `cogumi.dataset.verify`."""
        return self.family.verify(self.params, answer)

    def wrong_answer(self, rng: Random) -> str:
        """An answer that is wrong in a way a hurried model could be."""
        return self.family.mutate(self.params, self.solution.answer, rng)


_NUMBER = re.compile(r"-?\d+(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?(?:/\d+)?")


def last_number(text: str) -> str | None:
    """The last number in a text, thousands separators removed; fractions stay as written."""
    found = _NUMBER.findall(text)
    return found[-1].replace(",", "") if found else None


def number_is(gold: str) -> Callable[[str], bool]:
    """A check that the last number of an answer is this one."""
    return lambda answer: last_number(answer) == gold


def same_text(gold: str, answer: str) -> bool:
    """Equal after case, surrounding space, quotes and a final full stop are set aside."""
    return _plain(final_line(answer)) == _plain(gold)


def final_line(answer: str) -> str:
    """What stands after the last "Answer:", else the last line that is not empty."""
    _, marker, tail = answer.rpartition("Answer:")
    lines = [line for line in (tail if marker else answer).strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().strip("\"'`*").rstrip(".").lower()


def mutate_text(answer: str, rng: Random) -> str:
    """A near miss: another last number, two list items swapped, or a word replaced."""
    found = list(_NUMBER.finditer(answer))
    if found:
        last = found[-1]
        wrong = _other_number(last.group(), rng)
        return answer[: last.start()] + wrong + answer[last.end() :]
    items = answer.split(", ")
    if len(set(items)) > 1:
        first = next(i for i in range(1, len(items)) if items[i] != items[0])
        items[0], items[first] = items[first], items[0]
        return ", ".join(items)
    words = answer.split()
    words[-1] = "nothing" if words[-1].lower().strip(".") != "nothing" else "something"
    return " ".join(words)


def _other_number(text: str, rng: Random) -> str:
    top, slash, bottom = text.replace(",", "").partition("/")
    if "." in top:
        whole, _, part = top.partition(".")
        return f"{int(whole) + rng.randint(1, 3)}.{part}{slash}{bottom}"
    width = len(top) if top.startswith("0") else 0
    return f"{int(top) + rng.choice([1, 2, 3, 10]):0{width}d}{slash}{bottom}"
