"""Coding families: write a function, fix a bug, predict output, count loop turns, complexity, string slicing.

Answers that are programs are checked by running them in the sandbox (`runs_code`); every other gold answer is
computed by our own code.
"""

from __future__ import annotations

import re
from random import Random
from typing import Any

from cogumi.teachers.procedural.family import Family, Params, Solution, number_is, same_text
from cogumi.teachers.procedural.reference_functions import REFERENCES

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def extract_code(answer: str) -> str:
    """The last fenced block of an answer, or the whole answer where there is none."""
    blocks = re.findall(r"```(?:python|py)?\s*\n(.*?)```", answer, re.DOTALL | re.IGNORECASE)
    return str(blocks[-1] if blocks else answer)


# -- write a function (checked in the sandbox)


def _sample_function(rng: Random, hard: bool) -> dict[str, Any]:
    name = rng.choice([key for key, reference in REFERENCES.items() if reference.hard == hard])
    reference = REFERENCES[name]
    arguments = reference.draw(rng)
    while not arguments[0]:
        arguments = reference.draw(rng)
    return {
        "name": name,
        "task": _TASK_WORDS[name],
        "first": list(arguments[:1]),
        "second": arguments[1],
        "shown": [reference.function(*arguments)],
    }


def _solve_function(p: Params) -> Solution:
    reference = REFERENCES[p["name"]]
    code = f"```python\n{reference.source}\n```"
    return Solution(
        code,
        ("follow the definition step by step", _shown(p)),
        "empty input and the bounds behave as the task says",
    )


def _shown(p: Params) -> str:
    return f"the example gives {p['shown'][0]!r}" if "shown" in p else "one line differs from a correct version"


def _source_matches(p: Params, answer: str) -> bool:
    """Without a sandbox only our own text can be recognised; `cogumi.dataset.verify` runs anything else."""
    return extract_code(answer).strip() == extract_code(_solve_function(p).answer).strip()


def _break_code(p: Params, answer: str, rng: Random) -> str:
    """A program with the body replaced by one that returns its input."""
    name = p["name"]
    return f"```python\ndef {name}(values, other):\n    return [values, other]\n```"


_TASK_WORDS = {key: re.sub(r"[^A-Za-z0-9' ,;.\[\]()-]", "", reference.task) for key, reference in REFERENCES.items()}

# -- fix a bug (checked in the sandbox)

_BUGS: dict[str, tuple[str, str]] = {
    "count_divisible": ("value % divisor == 0", "value % divisor != 0"),
    "keep_longer": ("len(word) > length", "len(word) >= length"),
    "every_nth": ("values[step - 1 :: step]", "values[step :: step]"),
    "clamp_all": ("max(low, value)", "min(low, value)"),
    "best_window": ("entering - leaving", "entering + leaving"),
    "merge_close": ("<= gap", "< gap"),
    "longest_run": ("value <= limit else 0", "value <= limit else current"),
    "chunk_sums": ("range(0, len(values), size)", "range(0, len(values) - 1, size)"),
    "most_common": ("(-tally[value], value)", "(tally[value], value)"),
    "sum_of_digits": ("value //= base", "value //= 10"),
}


def _sample_bug(rng: Random, hard: bool) -> dict[str, Any]:
    name = rng.choice([key for key in _BUGS if REFERENCES[key].hard == hard])
    right, wrong = _BUGS[name]
    source = REFERENCES[name].source.replace(right, wrong)
    argument = (
        rng.choice(_LETTERS[:8])
        + "_"
        + rng.choice(("items", "data", "numbers", "entries", "series"))
        + str(rng.randrange(1, 999))
    )
    kind = "words" if name == "keep_longer" else "values"
    return {"name": name, "code": re.sub(rf"\b{kind}\b", argument, source), "task": _TASK_WORDS[name]}


# -- predict what a program prints


def _sample_print(rng: Random, hard: bool) -> dict[str, Any]:
    if hard:
        start, stop, step, skip = (
            rng.randrange(1, 9),
            rng.randrange(25, 90),
            rng.randrange(2, 7),
            rng.randrange(2, 6),
        )
        code = f"total = {rng.randrange(0, 50)}\nfor n in range({start}, {stop}, {step}):\n    if n % {skip} == 0:\n        continue\n    total += n\nprint(total)"
    else:
        code = f"n = {rng.randrange(2, 60)}\nm = n * {rng.randrange(2, 12)} - {rng.randrange(1, 30)}\nprint(m % {rng.randrange(5, 30)})"
    return {"code": code}


def _solve_print(p: Params) -> Solution:
    """The two program shapes are evaluated by their own rules; the text is never executed."""
    loop = re.fullmatch(
        r"total = (\d+)\nfor n in range\((\d+), (\d+), (\d+)\):\n    if n % (\d+) == 0:\n        continue\n    total \+= n\nprint\(total\)",
        p["code"],
    )
    if loop:
        first, start, stop, step, skip = map(int, loop.groups())
        taken = [n for n in range(start, stop, step) if n % skip != 0]
        return Solution(
            str(first + sum(taken)),
            (
                f"n runs over {start}, {start + step}, ... below {stop}",
                f"{len(taken)} values are not multiples of {skip}",
                f"{first} + {sum(taken)}",
            ),
            "range stops before its end",
        )
    line = re.fullmatch(r"n = (\d+)\nm = n \* (\d+) - (\d+)\nprint\(m % (\d+)\)", p["code"])
    assert line is not None, p["code"]
    n, times, minus, modulus = map(int, line.groups())
    m = n * times - minus
    return Solution(
        str(m % modulus),
        (f"m = {n} x {times} - {minus} = {m}", f"{m} modulo {modulus} = {m % modulus}"),
        "the remainder has the sign of the divisor",
    )


# -- how often a loop body runs


def _sample_turns(rng: Random, hard: bool) -> dict[str, Any]:
    return {"n": rng.randrange(5, 200), "m": rng.randrange(3, 60), "step": rng.randrange(2, 9)}


def _solve_turns(p: Params) -> Solution:
    if "m" not in p:
        turns = len(range(0, p["n"], p["step"]))
        return Solution(
            f"{turns} times",
            (
                f"i = 0, {p['step']}, {2 * p['step']}, ... below {p['n']}",
                f"that is ceil({p['n']} / {p['step']}) = {turns}",
            ),
            "the last partial step counts",
        )
    outer = len(range(0, p["n"], p["step"]))
    inner = sum(range(p["m"]))
    steps = (
        f"the outer loop runs {outer} times",
        f"the inner pair of loops runs 0 + 1 + ... + {p['m'] - 1} = {inner} times each",
        f"{outer} x {inner}",
    )
    return Solution(f"{outer * inner} times", steps, "range(i) is empty for i = 0")


# -- slicing


def _sample_slice(rng: Random, hard: bool) -> dict[str, Any]:
    text = "".join(rng.choice(_LETTERS) for _ in range(rng.randrange(7, 12)))
    return {"text": text, "a": rng.randrange(0, 3), "b": rng.randrange(5, 8), "step": rng.randrange(2, 4)}


def _solve_slice(p: Params) -> Solution:
    if "step" not in p:
        piece = p["text"][p["a"] : p["b"]]
        return Solution(piece, (f"positions {p['a']} to {p['b'] - 1}",), "the end position is not included")
    piece = p["text"][::-1][p["a"] :: p["step"]]
    return Solution(
        piece,
        (f"reversed: {p['text'][::-1]}", f"from position {p['a']} every {p['step']}: {piece}"),
        "the step counts from the start position",
    )


def _verify_slice(p: Params, answer: str) -> bool:
    return same_text(_solve_slice(p).answer, answer)


# -- dictionary updates


def _sample_tally(rng: Random, hard: bool) -> dict[str, Any]:
    letters = rng.sample(_LETTERS, 3)
    many = 14 if hard else 7
    return {
        "letters": [rng.choice(letters) for _ in range(many)],
        "of": rng.choice(letters),
        "by": rng.randrange(2, 9),
    }


def _solve_tally(p: Params) -> Solution:
    found = p["letters"].count(p["of"])
    if "by" not in p:
        return Solution(
            str(found), (f"{p['of']!r} stands {found} times in the list",), "letters that never occur count 0"
        )
    best = max(sorted(set(p["letters"])), key=p["letters"].count)
    most = p["letters"].count(best)
    return Solution(
        str(most * p["by"] - found),
        (f"the highest count is {most} ({best!r})", f"{most} x {p['by']} - {found}"),
        "get() gives 0 for a letter that never occurs",
    )


FAMILIES = (
    Family(
        "write-function",
        "coding",
        "code_generation",
        (
            "Write a Python function {name:code_name}(values, other) that {task:task}. The first argument is the list, the second the number. Example: with arguments {first:json} and {second:int} the result, in a list of one, is {shown:json}.",
        ),
        (
            "Implement {name:code_name}(values, other), a Python function that {task:task}; an empty list must work too. The first argument is the list, the second the number. Example: with arguments {first:json} and {second:int} the result, in a list of one, is {shown:json}.",
        ),
        _sample_function,
        _solve_function,
        _source_matches,
        _break_code,
        runs_code=True,
    ),
    Family(
        "fix-bug",
        "coding",
        "debugging",
        (
            "This function should be one that {task:task}, but it is wrong. Give the corrected function {name:code_name}.\n\n{code:code}",
        ),
        (
            "A colleague's function {name:code_name} fails its tests. It should be one that {task:task}. Find the mistake and give the whole corrected function.\n\n{code:code}",
        ),
        _sample_bug,
        _solve_function,
        _source_matches,
        _break_code,
        runs_code=True,
    ),
    Family(
        "predict-output",
        "coding",
        "code_review",
        (
            "What does this program print?\n\n{code:code}",
            "Give the output of this Python program.\n\n{code:code}",
        ),
        (
            "Work out by hand what this loop prints.\n\n{code:code}",
            "Without running it, say which number this program prints.\n\n{code:code}",
        ),
        _sample_print,
        _solve_print,
        lambda p, answer: number_is(_solve_print(p).answer)(answer),
    ),
    Family(
        "loop-turns",
        "coding",
        "code_review",
        ("How many times does the body of `for i in range(0, {n:int}, {step:int})` run?",),
        (
            "How many times does the innermost body run in: for k in range(0, {n:int}, {step:int}), inside it for i in range({m:int}), inside it for j in range(i)?",
        ),
        _sample_turns,
        _solve_turns,
        lambda p, answer: number_is(_solve_turns(p).answer.split()[0])(answer),
    ),
    Family(
        "slicing",
        "coding",
        "code_review",
        ("What is the value of '{text:word}'[{a:int}:{b:int}] in Python?",),
        ("What is the value of '{text:word}'[::-1][{a:int}::{step:int}] in Python?",),
        _sample_slice,
        _solve_slice,
        _verify_slice,
    ),
    Family(
        "letter-count",
        "coding",
        "code_review",
        ("After d = collections.Counter({letters:json}), what is d['{of:word}']?",),
        (
            "With d = collections.Counter({letters:json}), what is the value of max(d.values()) * {by:int} - d['{of:word}']?",
        ),
        _sample_tally,
        _solve_tally,
        lambda p, answer: number_is(_solve_tally(p).answer)(answer),
    ),
)
