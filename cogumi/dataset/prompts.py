"""The prompts, read from the files in prompts/. Editing a file changes the requests made from it, and only those."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from functools import lru_cache
from importlib import resources
from random import Random
from string import Template
from typing import Any

import orjson

from cogumi.domain import DOMAINS, Cell, Reasoning
from cogumi.domain.traits import HARM_CATEGORIES, TASK_TYPES

_AVOID_CHARACTERS = 160
_ASKED_FOR = re.compile(
    r"^Domain: (?P<domain>.+)\nDifficulty: (?P<difficulty>\w+)\b.*?\nCount: (?P<count>\d+)$", re.MULTILINE | re.DOTALL
)
_TO_JUDGE = re.compile(r'<question id="(\d+)" domain="([^"]+)" difficulty="(\w+)">\n(.*?)\n</question>', re.DOTALL)
_CLOSING = re.compile(r"</(question|answer|reasoning|result)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A system and a user text."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """An answer as the judge of a pair sees it; `reasoning` is None where there is none to show."""

    result: str
    reasoning: Reasoning | None = None


def question_prompt(cell: Cell, count: int, topic: str, angle: str, variation: int, avoid: list[str]) -> Prompt:
    """Asks for `count` questions of a cell on one topic, naming what not to repeat."""
    data = topic_data()
    listed = "".join(f"- {_one_line(text)}\n" for text in avoid)
    fields = {
        "count": count,
        "domain": DOMAINS[cell.domain],
        "difficulty": cell.difficulty,
        "difficulty_description": data["difficulties"][cell.difficulty],
        "requirements": data["domains"][cell.domain]["requirements"],
        "topic": topic,
        "angle": angle,
        "variation": variation,
        "avoid": f"\nThese exist already; write nothing like them:\n{listed}" if avoid else "",
    }
    return Prompt(_fill("question_system", fields), _fill("question_user", fields))


def judge_prompt(questions: list[tuple[str, Cell]], classify: bool = False) -> Prompt:
    """Asks for four scores for each question, numbered from 1; with `classify` also for what kind of task each is.

    All questions of a call belong to one domain, whose task types are offered.
    """
    blocks = [
        f'<question id="{number}" domain="{DOMAINS[cell.domain]}" difficulty="{cell.difficulty}">\n'
        f"{_fence(text)}\n</question>"
        for number, (text, cell) in enumerate(questions, 1)
    ]
    shown = {"questions": "\n\n".join(blocks)}
    if not classify:
        return Prompt(_read("judge_system"), _fill("judge_user", shown))
    lists = {
        "task_types": ", ".join(TASK_TYPES[questions[0][1].domain]),
        "harm_categories": ", ".join(HARM_CATEGORIES[1:]),
    }
    system = f"{_read('judge_system')}\n\n{_fill('judge_traits_system', lists)}"
    return Prompt(system, _fill("judge_traits_user", shown))


def questions_asked_for(user: str) -> tuple[str, str, int] | None:
    """What `question_prompt` asked for in its user text: domain as shown, difficulty, count; None for another text."""
    found = _ASKED_FOR.search(user)
    return None if found is None else (found["domain"], found["difficulty"], int(found["count"]))


def questions_to_judge(user: str) -> list[tuple[int, str, str, str]]:
    """What `judge_prompt` put into its user text: number, domain as shown, difficulty, text."""
    return [(int(number), domain, difficulty, text) for number, domain, difficulty, text in _TO_JUDGE.findall(user)]


def answer_prompt(question: str, hard: bool, guided: bool = False) -> Prompt:
    """Asks for an answer: direct for easy questions, draft, critique and revision for hard ones.

    `guided` puts the long guide before the instructions of a hard one: the shared prefix that prompt caching is for.
    """
    return Prompt(_answer_system(hard, guided), question)


def pair_prompt(question: str, answers: tuple[ShownAnswer, ShownAnswer]) -> Prompt:
    """Asks for a score of each of two answers to a question, without saying where they come from."""
    first, second = (_answer_block(answer) for answer in answers)
    fields = {"question": _fence_pair(question), "first": first, "second": second}
    return Prompt(_read("pair_system"), _fill("pair_user", fields))


def guide_tokens() -> int:
    """Tokens that the guide adds to a hard question, at four characters per token."""
    return (len(_answer_system(True, True)) - len(_answer_system(True, False))) // 4


@lru_cache(maxsize=4)
def _answer_system(hard: bool, guided: bool) -> str:
    """One text for all calls: the guide is 8 KB, and tens of thousands of calls may wait for a batch."""
    system = _read("answer_hard_system" if hard else "answer_easy_system")
    return f"{_read('answer_hard_guide')}\n\n{system}" if hard and guided else system


def topic_and_angle(cell: Cell, seed: int, call: int) -> tuple[str, str]:
    """Cell number `call` of the shuffled grid topics x angles; each topic comes up once before any comes up again."""
    data = topic_data()
    topics, angles = list(data["domains"][cell.domain]["topics"]), list(data["angles"])
    rng = Random(f"{seed}/{cell}")
    rng.shuffle(topics)
    rng.shuffle(angles)
    return topics[call % len(topics)], angles[(call + call // len(topics)) % len(angles)]


@lru_cache(maxsize=1)
def topic_data() -> dict[str, Any]:
    return dict(orjson.loads(_read("topics", "json")))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _AVOID_CHARACTERS else line[:_AVOID_CHARACTERS] + " ..."


def _answer_block(answer: ShownAnswer) -> str:
    blocks = [("result", answer.result)]
    if answer.reasoning is not None:
        blocks.insert(0, ("reasoning", "\n\n".join(astuple(answer.reasoning))))
    return "\n".join(f"<{name}>\n{_fence_pair(text)}\n</{name}>" for name, text in blocks)


def _fence(text: str) -> str:
    """A question cannot end its own block."""
    return text.replace("</question", "</ question")


def _fence_pair(text: str) -> str:
    """A question or an answer cannot end a block of the pair."""
    return _CLOSING.sub(r"</ \1", text)


def _fill(name: str, fields: dict[str, Any]) -> str:
    return Template(_read(name)).substitute({key: str(value) for key, value in fields.items()})


@lru_cache(maxsize=16)
def _read(name: str, suffix: str = "md") -> str:
    return resources.files("cogumi.dataset").joinpath("prompts", f"{name}.{suffix}").read_text("utf-8").strip()
