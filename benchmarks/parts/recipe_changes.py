"""Random changes of a recipe, for the benchmark and the test of forecasts: keys that decide requests or rows, and keys
that decide neither.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_DRAWS: dict[str, Callable[[Random], str]] = {
    "dataset.judge.pass_mean": lambda rng: f"{rng.uniform(6.5, 9.0):.2f}",
    "dataset.judge.per_call": lambda rng: str(rng.choice((5, 8, 12, 20))),
    "dataset.judge.temperature": lambda rng: f"{rng.uniform(0.1, 1):.2f}",
    "dataset.judge.hidden_share": lambda rng: f"{rng.choice((0.2, 0.3))}",
    "dataset.judge.max_tokens": lambda rng: str(rng.choice((200, 300, 2000, 6000))),
    "dataset.judge.workers": lambda rng: str(rng.randint(2, 30)),
    "dataset.questions.per_call": lambda rng: str(rng.choice((4, 5, 8, 12))),
    "dataset.answers_easy.temperature": lambda rng: f"{rng.uniform(0, 0.6):.2f}",
    "dataset.answers_easy.max_tokens": lambda rng: str(rng.choice((300, 400, 600))),
    "dataset.answers_hard.max_tokens": lambda rng: str(rng.choice((120, 160, 1500, 3000))),
    "dataset.answers_hard.guide": lambda rng: "true",
    "dataset.answers_hard.tries": lambda rng: str(rng.choice((2, 4))),
    "dataset.near_duplicates.threshold": lambda rng: f"{rng.uniform(0.6, 0.95):.2f}",
    "dataset.tokenizer.vocab_size": lambda rng: str(rng.choice((1000, 2000))),
    "dataset.split.test": lambda rng: f"{rng.uniform(0.1, 0.3):.2f}",
    "dataset.max_rounds": lambda rng: str(rng.randint(30, 60)),
    "teachers.judge.rpm": lambda rng: str(rng.randint(50_000, 90_000)),
    "budget.max_usd": lambda rng: str(rng.randint(50, 500)),
    "seed": lambda rng: str(rng.randint(1000, 9999)),
}


def random_changes(count: int, seed: int) -> list[list[str]]:
    """Overrides for `load_recipe`, one or two keys each; every key comes up before any comes up again."""
    rng, changes, left = Random(seed), list[list[str]](), list[str]()
    for _ in range(count):
        wanted = rng.choice((1, 1, 1, 2))
        if len(left) < wanted:
            left = rng.sample(list(_DRAWS), len(_DRAWS))
        changes.append([f"{key}={_DRAWS[key](rng)}" for key in (left.pop() for _ in range(wanted))])
    return changes
