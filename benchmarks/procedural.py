"""60,000 verified rows without a teacher: the embedded families, and Reasoning Gym through ours, each against bare
Reasoning Gym, which only generates.

Ours generates, solves with steps, verifies every answer and refuses exact duplicates; programs are run in the sandbox,
each distinct one once. CPU counts this process and its children.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from itertools import islice
from random import Random

import reasoning_gym

from benchmarks.measuring import Figure, report
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.verify import verify_answer
from cogumi.domain import Difficulty
from cogumi.recipe import load_recipe
from cogumi.teachers.procedural import Task, by_domain
from cogumi.teachers.procedural.gym import GYM_FAMILIES, gym_task, gym_tasks

_SEED = 7


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    rows = 6000 if quick else 60_000
    for names in GYM_FAMILIES.values():  # imports, word lists and other first-time work, outside the clock
        for name in names:
            gym_task(name, _SEED - 1, 0)
    bare, bare_unique = _measured(lambda: _bare(rows))
    gym, gym_passed = _measured(lambda: _gym(rows))
    own, own_passed = _measured(lambda: _own(rows))
    figures = [
        Figure("CPU, own families verified / bare reasoning-gym", own / bare, "ratio", high=2.0),
        Figure("CPU, reasoning-gym verified by ours / bare", gym / bare, "ratio", high=2.0),
        Figure("own rows, unique and verified", own_passed, "rows", low=rows),
        Figure("reasoning-gym rows, unique and verified", gym_passed, "rows", low=rows),
        Figure("bare reasoning-gym rows, unique", bare_unique, "rows"),
        Figure("own families", own, "CPU s"),
        Figure("reasoning-gym verified", gym, "CPU s"),
        Figure("bare reasoning-gym", bare, "CPU s"),
    ]
    families = sum(len(names) for names in GYM_FAMILIES.values())
    report("procedural", figures, {"rows": rows, "gym_families": families}, save=save, table=table)


def _measured(work: Callable[[], int]) -> tuple[float, int]:
    before = os.times()
    result = work()
    after = os.times()
    return sum(after[:4]) - sum(before[:4]), result


def _bare(rows: int) -> int:
    """The allowed families as a user of the library would draw them: question and answer, nothing checked."""
    names = [name for names in GYM_FAMILIES.values() for name in names]
    each = -(-rows // len(names))
    texts: list[str] = []
    for name in names:
        data = reasoning_gym.create_dataset(name, size=each, seed=_SEED + 1)
        texts += [data[place]["question"] for place in range(each)]
    return len(set(texts))


def _gym(rows: int) -> int:
    shares = {
        domain: rows * len(names) // len(sum(GYM_FAMILIES.values(), ())) for domain, names in GYM_FAMILIES.items()
    }
    shares["math"] += rows - sum(shares.values())
    seen: set[str] = set()
    for domain, share in shares.items():
        seen.update(fingerprint(task.question) for task in islice(gym_tasks(domain, _SEED), share))
    return len(seen)


def _own(rows: int) -> int:
    rng = Random(_SEED)
    seen: set[str] = set()
    programs: dict[str, bool] = {}
    for domain, counts in load_recipe("spec-60k").dataset.cells.items():
        families = by_domain(domain)
        for difficulty, count in counts.items():
            wanted = count * rows // 60_000
            enough = len(seen) + wanted
            while len(seen) < enough:
                task = rng.choice(families).generate(rng, Difficulty(difficulty))
                mark = fingerprint(task.question)
                if mark not in seen and _right(task, programs):
                    seen.add(mark)
    return len(seen)


def _right(task: Task, programs: dict[str, bool]) -> bool:
    answer = task.solution.answer
    if not task.family.runs_code:
        return task.verify(answer)
    if answer not in programs:
        programs[answer] = asyncio.run(verify_answer(task.question, answer)) == "passed"
    return programs[answer]
