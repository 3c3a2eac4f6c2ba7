"""Verify: whether an answer is right, where a machine can tell. Programs are run in the sandbox, never here."""

from __future__ import annotations

from typing import Any, Literal

import orjson

from cogumi.domain.example import Verification
from cogumi.sandbox import run_python, sandbox_problem
from cogumi.teachers.procedural import Task, recognise
from cogumi.teachers.procedural.coding import extract_code
from cogumi.teachers.procedural.gym import find_task, is_right
from cogumi.teachers.procedural.reference_functions import REFERENCES

Verdict = Literal["passed", "failed", "unverified", "no-verifier"]
_HARNESS = """
{code}

import json as _json
_results = []
for _arguments in _json.loads({cases!r}):
    try:
        _results.append({name}(*_arguments))
    except Exception as _error:
        _results.append("error: " + type(_error).__name__)
print("\\n" + _json.dumps(_results, default=list))
"""


async def verify_answer(question: str, answer: str, topic: str = "") -> Verdict:
    """The verdict on an answer. `unverified`: it is a program and there is no sandbox to run it in. A row of Reasoning
    Gym is known by its topic.
    """
    task = recognise(question)
    if task is None:
        gym = find_task(topic, question)
        return "no-verifier" if gym is None else "passed" if is_right(gym, answer) else "failed"
    if not task.family.runs_code:
        return "passed" if task.verify(answer) else "failed"
    if sandbox_problem():
        return "unverified"
    return "passed" if await _program_is_right(task, answer) else "failed"


def as_verification(verdict: Verdict) -> Verification:
    """The verdict kept with a row; failed rows are never kept."""
    assert verdict != "failed", "a failed answer is not kept"
    return verdict


async def _program_is_right(task: Task, answer: str) -> bool:
    """Run the program on cases and compare its results out here, so that the program cannot grade itself."""
    reference = REFERENCES[task.params["name"]]
    cases = reference.cases(seed=0)
    arguments = orjson.dumps([list(given) for given, _ in cases]).decode()
    program = _HARNESS.format(code=extract_code(answer), cases=arguments, name=reference.function.__name__)
    result = await run_python(program)
    return result.ok and _last_line(result.output) == _plain([expected for _, expected in cases])


def _last_line(output: str) -> Any:
    lines = output.strip().splitlines()
    try:
        return orjson.loads(lines[-1]) if lines else None
    except orjson.JSONDecodeError:
        return None


def _plain(value: Any) -> Any:
    """A value as it looks after a round trip through JSON: tuples become lists."""
    return orjson.loads(orjson.dumps(value))
