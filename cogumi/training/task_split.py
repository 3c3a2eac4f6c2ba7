"""TaskSplit: which tasks are trained on, which one chooses by, and which one reports on.

    split = split_rows(items, domains=["math"], held_out_domains=[], held_out_share=0.15, most_rows=400, least_rows=12,
                       seed=0)

Tasks are held out whole. Half of them choose the step to keep and the rates of controls; the other half is looked at
once, for the closing table. A near-duplicate of a held-out row is in no other part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cogumi.errors import InputError
from cogumi.training.clusters import Item, Tasks, distinct, hold_out, split_tasks


@dataclass(frozen=True, slots=True)
class TaskSplit:
    """Tasks by part. `rows_unused` are those of tasks too small for an episode, and near-duplicates of held-out ones;
    `apart` holds the questions of held-out tasks, which a base that is made for these adapters must not see either.
    """

    training: Tasks
    validation: Tasks
    test: Tasks
    rows_unused: int
    apart: frozenset[str]


def split_rows(
    items: Sequence[Item],
    *,
    domains: Sequence[str],
    held_out_domains: Sequence[str],
    held_out_share: float,
    most_rows: int,
    least_rows: int,
    seed: int,
) -> TaskSplit:
    """Items of `domains` as tasks of at most about `most_rows` rows, in three parts; small ones are pooled by domain.

    Raises InputError domain-empty where a domain has no task of `least_rows` rows, tasks-too-few where a part would be
    empty.
    """
    wanted = set(domains)
    used = [item for item in items if item.task.partition("/")[0] in wanted]
    tasks = _pooled(split_tasks(used, most_rows), least_rows)
    for domain in domains:
        sizes = [distinct(members) for name, members in tasks.items() if name.partition("/")[0] == domain]
        if max(sizes, default=0) < least_rows:
            raise InputError("domain-empty", f"{domain}: {sum(sizes)} rows, no task of {least_rows}")
    training, held_out = hold_out(tasks, held_out_share, held_out_domains, least_rows, seed)
    validation = {name: held_out[name] for name in sorted(held_out)[::2]}
    test = {name: held_out[name] for name in sorted(held_out)[1::2]}
    groups = {item.group for members in held_out.values() for item in members}
    training = _without(training, groups, least_rows)
    if not training or not test:
        raise InputError("tasks-too-few", f"{len(training)} to train on, {len(held_out)} held out, which serve twice")
    kept = sum(len(members) for part in (training, validation, test) for members in part.values())
    apart = frozenset(item.question for item in items if item.group in groups)
    return TaskSplit(training, validation, test, len(items) - kept, apart)


def _pooled(tasks: Tasks, least_rows: int) -> Tasks:
    """Tasks too small for an episode become one by domain, DOMAIN/other."""
    made: Tasks = {}
    for name, members in tasks.items():
        small = distinct(members) < least_rows
        made.setdefault(f"{name.partition('/')[0]}/other" if small else name, []).extend(members)
    return made


def _without(tasks: Tasks, groups: set[str], least_rows: int) -> Tasks:
    left = {name: [item for item in members if item.group not in groups] for name, members in tasks.items()}
    return {name: members for name, members in left.items() if distinct(members) >= least_rows}
