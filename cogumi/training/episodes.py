"""Episodes: support and query sets drawn from tasks, as a function of seed and step alone.

    sampler = EpisodeSampler(tasks, tasks_per_step=4, support=6, query=6, temperature=0.5, seed=0)
    sampler.batch(step=17)              # the same four episodes in a run that was resumed

Each task has a shuffled queue, so that each of its rows is used once before any is used again; the queue of a pass
depends on seed, task and pass. Tasks are drawn with probability n ** temperature: 1 is in proportion to rows, 0 evenly.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import torch

from cogumi.errors import InputError
from cogumi.training.algorithms import Episode
from cogumi.training.clusters import Item, Tasks, distinct


class EpisodeSampler:
    """Draws the same batches again and again; keeps no state but what it has computed before."""

    def __init__(
        self,
        tasks: Tasks,
        tasks_per_step: int,
        support: int,
        query: int,
        temperature: float,
        seed: int,
        pooled: bool = False,
    ) -> None:
        """`pooled`: the query sets hold the support rows too, for training without an inner loop on the same rows.

        Raises InputError support-too-small for a task without enough rows, tasks-too-few."""
        if len(tasks) < tasks_per_step:
            raise InputError("tasks-too-few", f"{len(tasks)} tasks, {tasks_per_step} a step")
        for name, items in tasks.items():
            if distinct(items) < support + query:
                raise InputError("support-too-small", f"{name}: {len(items)} rows, an episode takes {support + query}")
        self._tasks = tasks
        self._names = sorted(tasks)
        self._weights = torch.tensor([float(len(tasks[name])) ** temperature for name in self._names])
        self._per_step, self._support, self._query, self._seed = tasks_per_step, support, query, seed
        self._pooled = pooled
        self._drawn: list[list[tuple[str, int]]] = []
        self._times: Counter[str] = Counter()

    @property
    def rows(self) -> int:
        return sum(len(items) for items in self._tasks.values())

    def steps_per_epoch(self) -> int:
        """Steps in which as many rows are drawn as there are."""
        return max(1, round(self.rows / (self._per_step * (self._support + self._query))))

    def batch(self, step: int) -> list[Episode]:
        """The episodes of a step, of different tasks; `step` counts from 0."""
        while len(self._drawn) <= step:
            self._draw()
        return [self._episode(name, turn) for name, turn in self._drawn[step]]

    def counts(self, steps: int) -> Counter[str]:
        """How often each task is drawn in the first `steps` steps."""
        self.batch(steps - 1)
        return Counter(name for drawn in self._drawn[:steps] for name, _ in drawn)

    def _draw(self) -> None:
        chance = _chance(self._seed, "tasks", len(self._drawn))
        chosen = torch.multinomial(self._weights, self._per_step, replacement=False, generator=chance)
        step = []
        for number in chosen.tolist():
            name = self._names[number]
            step.append((name, self._times[name]))
            self._times[name] += 1
        self._drawn.append(step)

    def _episode(self, name: str, turn: int) -> Episode:
        """The `turn`-th episode of a task: its part of that pass's queue."""
        items, size = self._tasks[name], self._support + self._query
        per_pass = len(items) // size
        number, place = divmod(turn, per_pass)
        order = torch.randperm(len(items), generator=_chance(self._seed, name, number)).tolist()
        queue = [items[at] for at in order[place * size :] + order[: place * size]]
        support = _of_different_groups(queue, self._support, set())
        query = _of_different_groups(queue, self._query, {item.group for item in support})
        judged = [*support, *query] if self._pooled else query
        return Episode(name, [item.example for item in support], [item.example for item in judged])


def fixed_episodes(tasks: Tasks, count: int, support: int, query: int, seed: int) -> list[Episode]:
    """`count` episodes over all tasks in turn, always the same: what adaptation is measured by.

    Raises InputError support-too-small.
    """
    sampler = EpisodeSampler(tasks, len(tasks), support, query, 0.0, seed)
    steps = -(-count // len(tasks))
    return [episode for step in range(steps) for episode in sampler.batch(step)][:count]


def _of_different_groups(queue: list[Item], count: int, used: set[str]) -> list[Item]:
    """The first items of the queue whose groups are not used, each of another group; they use theirs."""
    taken: list[Item] = []
    used = set(used)
    for item in queue:
        if len(taken) == count:
            break
        if item.group not in used:
            used.add(item.group)
            taken.append(item)
    return taken


def _chance(seed: int, *what: object) -> torch.Generator:
    digest = hashlib.sha256("/".join(map(str, (seed, *what))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
