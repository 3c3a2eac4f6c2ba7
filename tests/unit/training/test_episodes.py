"""Tasks and episodes: what is held out stays out, nothing is in support and query at once, and steps draw the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from cogumi.errors import InputError
from cogumi.lm.chat import PLAIN
from cogumi.lm.tokenizer import TrainingTokenizer, train_tokenizer
from cogumi.training.clusters import Item, Tasks, hold_out, read_items, split_tasks
from cogumi.training.episodes import EpisodeSampler, fixed_episodes
from cogumi.training.task_split import split_rows
from tests.unit.training.models import example

TEMPLATES = {
    "fish": "How many fish are in {n} ponds of {m} fish each, if none is caught by the heron?",
    "sum": "Add up the numbers {n} and {m} and write nothing else than the result.",
    "word": "Write the word {n} times backwards on line {m}, without any blank between the letters!",
}


@pytest.fixture(scope="module")
def tokenizer() -> TrainingTokenizer:
    return train_tokenizer(list(TEMPLATES.values()), 300)


def dataset(folder: Path, rows: dict[str, int]) -> Path:
    """A dataset's train part: `rows` of each template, all of one cell."""
    lines = []
    for name, count in rows.items():
        for n in range(count):
            metadata = {"domain": "Common Sense", "task_type": "counting", "difficulty": "easy"}
            prompt = TEMPLATES[name].format(n=n, m=7 * n % 11)
            lines.append(orjson.dumps({"prompt": prompt, "response": f"{name} {n}", "metadata": metadata}))
    (folder / "train.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder


def tasks_of(sizes: dict[str, int]) -> Tasks:
    number = iter(range(10_000))
    return {
        name: [Item(example(n := next(number)), str(n), name, str(n)) for _ in range(size)]
        for name, size in sizes.items()
    }


def test_rows_of_one_cell_are_told_apart_by_what_they_look_like(tmp_path: Path, tokenizer: TrainingTokenizer) -> None:
    items = read_items(dataset(tmp_path, dict.fromkeys(TEMPLATES, 30)), tokenizer, PLAIN, 512)
    assert {item.task for item in items} == {"common_sense/counting/easy"}
    tasks = split_tasks(items, most_rows=30)
    assert len(tasks) == 3
    for members in tasks.values():
        kinds = Counter(
            min(TEMPLATES, key=lambda name: abs(hash_distance(m.question, TEMPLATES[name]))) for m in members
        )
        assert len(kinds) == 1 and len(members) == 30
    assert split_tasks(items, most_rows=30) == tasks
    assert list(split_tasks(items, most_rows=90)) == ["common_sense/counting/easy"]


def hash_distance(one: str, other: str) -> int:
    return len(set(one.split()) ^ set(other.split()))


def test_rows_that_are_too_long_are_refused_or_dropped_as_asked(tmp_path: Path, tokenizer: TrainingTokenizer) -> None:
    folder = dataset(tmp_path, {"sum": 5, "word": 5})
    lengths = sorted(len(item.example.ids) for item in read_items(folder, tokenizer, PLAIN, 512))
    with pytest.raises(InputError, match="example-too-long"):
        read_items(folder, tokenizer, PLAIN, lengths[-1] - 1)
    kept = read_items(folder, tokenizer, PLAIN, lengths[4], drop_long=True)
    assert [len(item.example.ids) <= lengths[4] for item in kept] == [True] * len(kept) and 5 <= len(kept) < 10
    with pytest.raises(InputError, match="corpus-unreadable"):
        read_items(tmp_path / "nowhere", tokenizer, PLAIN, 512)


def test_near_duplicates_are_one_group(tmp_path: Path, tokenizer: TrainingTokenizer) -> None:
    folder = dataset(tmp_path, {"fish": 4})
    first = (folder / "train.jsonl").read_bytes().splitlines()[0]
    with (folder / "train.jsonl").open("ab") as file:
        file.write(first.replace(b"the heron", b"a heron") + b"\n")
    groups = [item.group for item in read_items(folder, tokenizer, PLAIN, 512)]
    assert groups[4] == groups[0] and len(set(groups)) == 4


def test_held_out_tasks_are_whole_and_named_domains_go_with_them() -> None:
    tasks = tasks_of(
        {f"{domain}/t{n}/easy": 20 for domain in ("math", "coding", "reading") for n in range(8)}
        | {"math/small/easy": 3}
    )
    training, held = hold_out(tasks, 0.25, ["reading"], 12, seed=0)
    assert not set(training) & set(held) and len(training) + len(held) == 24
    assert sum(name.startswith("reading/") for name in held) == 8 and not any(
        n.startswith("reading/") for n in training
    )
    assert sum(not name.startswith("reading/") for name in held) == 4
    assert hold_out(tasks, 0.25, ["reading"], 12, seed=0) == (training, held)
    assert hold_out(tasks, 0.25, [], 12, seed=1)[1].keys() != hold_out(tasks, 0.25, [], 12, seed=0)[1].keys()
    with pytest.raises(InputError, match="domain-empty"):
        hold_out(tasks, 0.25, ["poetry"], 12, seed=0)
    with pytest.raises(InputError, match="tasks-too-few"):
        hold_out(tasks, 0.25, [], 21, seed=0)


def test_a_split_has_three_parts_and_small_tasks_are_pooled_by_domain() -> None:
    items = [item for members in tasks_of(
        {f"math/t{n}/easy": 20 for n in range(12)} | {"coding/a/easy": 3, "coding/a/hard": 5, "coding/b/hard": 6}
        | {"poetry/ode/easy": 2}
    ).values() for item in members]  # fmt: skip
    asked = {"held_out_domains": [], "held_out_share": 0.3, "most_rows": 50, "least_rows": 8, "seed": 0}
    split = split_rows(items, domains=["math", "coding"], **asked)
    parts = [set(part) for part in (split.training, split.validation, split.test)]
    assert len(parts[1]) == len(parts[2]) == 2 and len(set.union(*parts)) == 13
    pooled = {**split.training, **split.validation, **split.test}["coding/other"]
    assert len(pooled) == 14 and split.rows_unused == 2, "poetry was not asked for"
    with pytest.raises(InputError, match=r"domain-empty[\s\S]*poetry"):
        split_rows(items, domains=["math", "poetry"], **asked)
    with pytest.raises(InputError, match="tasks-too-few"):
        split_rows(items, domains=["coding"], **asked)


def test_a_near_duplicate_of_a_held_out_row_is_not_trained_on() -> None:
    items = [item for members in tasks_of({f"math/t{n}/easy": 20 for n in range(10)}).values() for item in members]
    asked = {
        "domains": ["math"],
        "held_out_domains": [],
        "held_out_share": 0.2,
        "most_rows": 50,
        "least_rows": 8,
        "seed": 0,
    }
    split = split_rows(items, **asked)
    (first, *_), (last, *_) = next(iter(split.training.values())), next(iter(split.test.values()))
    twin = [replace(item, group=last.group) if item is first else item for item in items]
    again = split_rows(twin, **asked)
    assert len(again.training[first.task]) == len(split.training[first.task]) - 1 and first.question in again.apart


def test_a_pooled_episode_is_judged_by_its_support_too() -> None:
    tasks = tasks_of({"a": 30, "b": 30})
    plain, pooled = (EpisodeSampler(tasks, 2, 3, 4, 0.5, 1, both).batch(3) for both in (False, True))
    for one, other in zip(plain, pooled, strict=True):
        assert other.support == one.support and other.query == [*one.support, *one.query]


def test_a_step_draws_the_same_however_the_run_came_to_it() -> None:
    tasks = tasks_of({"a": 30, "b": 50, "c": 20, "d": 13})
    straight = EpisodeSampler(tasks, 2, 3, 3, 0.5, seed=4)
    batches = [straight.batch(step) for step in range(30)]
    resumed = EpisodeSampler(tasks, 2, 3, 3, 0.5, seed=4)
    assert resumed.batch(29) == batches[29] and resumed.batch(7) == batches[7]
    assert EpisodeSampler(tasks, 2, 3, 3, 0.5, seed=5).batch(29) != batches[29]
    for batch in batches:
        assert len({episode.task for episode in batch}) == 2
        assert all(len(e.support) == len(e.query) == 3 for e in batch)


def test_each_row_is_used_once_before_any_is_used_again_and_never_on_both_sides() -> None:
    tasks = tasks_of({"a": 24, "b": 24})
    sampler = EpisodeSampler(tasks, 2, 3, 3, 0.5, seed=0)
    for number in range(3):  # passes of four episodes a task
        for at in range(2):
            used = [tuple(x.ids) for step in range(4) for e in [sorted(sampler.batch(4 * number + step), key=lambda e: e.task)[at]]
                    for x in (*e.support, *e.query)]  # fmt: skip
            assert len(used) == len(set(used)) == 24
    assert sampler.steps_per_epoch() == 4


def test_rows_of_one_group_are_never_in_both_sets() -> None:
    tasks = tasks_of({"a": 40, "b": 40})
    paired = {
        name: [Item(i.example, i.question, i.task, str(n // 2)) for n, i in enumerate(items)]
        for name, items in tasks.items()
    }
    group = {tuple(i.example.ids): (name, i.group) for name, items in paired.items() for i in items}
    sampler = EpisodeSampler(paired, 1, 8, 8, 0.5, seed=0)
    for step in range(50):
        (episode,) = sampler.batch(step)
        sides = [{group[tuple(e.ids)] for e in side} for side in (episode.support, episode.query)]
        assert not sides[0] & sides[1] and len(sides[0]) == len(sides[1]) == 8


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 16.0), (0.5, 4.0), (0.0, 1.0)])
def test_temperature_weighs_large_tasks(temperature: float, expected: float) -> None:
    sampler = EpisodeSampler(tasks_of({"large": 320, "small": 20}), 1, 2, 2, temperature, seed=0)
    counts = sampler.counts(4000)
    assert counts["large"] / counts["small"] == pytest.approx(expected, rel=0.15)


def test_what_cannot_make_an_episode_is_refused() -> None:
    with pytest.raises(InputError, match="support-too-small"):
        EpisodeSampler(tasks_of({"a": 11}), 1, 6, 6, 0.5, seed=0)
    with pytest.raises(InputError, match="tasks-too-few"):
        EpisodeSampler(tasks_of({"a": 20}), 2, 6, 6, 0.5, seed=0)


def test_held_out_episodes_are_always_the_same_and_spread_over_the_tasks() -> None:
    tasks = tasks_of({"a": 30, "b": 50, "c": 20})
    episodes = fixed_episodes(tasks, 10, 3, 3, seed=0)
    assert episodes == fixed_episodes(tasks, 10, 3, 3, seed=0) and len(episodes) == 10
    assert sorted(Counter(e.task for e in episodes).values()) == [3, 3, 4]
