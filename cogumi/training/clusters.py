"""Tasks: a dataset's rows by domain, type and difficulty, and in large cells by what their questions look like.

    tasks = split_tasks(read_items(Path("runs/demo/dataset"), tokenizer, PLAIN, max_tokens=512), most_rows=400)
    training, held_out = hold_out(tasks, share=0.15, domains=(), seed=0)

Eight domains can be told from the prompt alone, and then nothing is left for a support set to say (Yin et al. 2020). So
tasks are fine: hundreds of them, and whole ones are kept apart for validation.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cogumi.dataset.near_duplicates import NearDuplicateIndex, Row
from cogumi.errors import InputError
from cogumi.lm.chat import ChatFormat, Encoded, encode_examples, response_text
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.store.files import read_jsonl

_PARTS = ("train", "validation", "test")
_GRAM = 4
_BUCKETS = 4096
_ROUNDS = 12
Tasks = dict[str, list["Item"]]


@dataclass(frozen=True, slots=True)
class Item:
    """A row, ready to be trained on. Rows of one `group` are near-duplicates: never support and query at once."""

    example: Encoded
    question: str
    task: str
    group: str


def read_items(
    dataset: Path,
    tokenizer: TrainingTokenizer,
    form: ChatFormat,
    max_tokens: int,
    parts: Sequence[str] = _PARTS[:1],
    drop_long: bool = False,
) -> list[Item]:
    """Rows of a dataset artifact, those of `parts` of its split.

    Raises InputError corpus-unreadable where there is none, example-too-long where one is longer than `max_tokens` and
    such rows are not to be dropped.
    """
    rows = [row for part in parts if (file := dataset / f"{part}.jsonl").is_file() for row in read_jsonl(file)]
    if not rows:
        raise InputError("corpus-unreadable", f"{dataset}: no row in {', '.join(parts)}")
    answers = [response_text(row["response"], row.get("draft"), row.get("thinking"), form) for row in rows]
    asked = [str(row["prompt"]) for row in rows]
    examples = encode_examples(tokenizer, list(zip(asked, answers, strict=True)), form)
    long = [len(example.ids) for example in examples if len(example.ids) > max_tokens]
    if long and not drop_long:
        raise InputError("example-too-long", f"{len(long)} of {len(rows)} rows, the longest {max(long)} tokens")
    groups = _groups(asked, answers)
    return [
        Item(example, question, task_of(row["metadata"]), group)
        for row, example, question, group in zip(rows, examples, asked, groups, strict=True)
        if len(example.ids) <= max_tokens
    ]


def has_rows(dataset: Path, part: str) -> bool:
    """Whether a dataset artifact has a row of that part of its split; a small one may have none."""
    file = dataset / f"{part}.jsonl"
    return file.is_file() and file.stat().st_size > 0


def task_of(metadata: Mapping[str, Any]) -> str:
    """domain/type/difficulty, of the second record format."""
    parts = (metadata["domain"], metadata["task_type"], metadata["difficulty"])
    return "/".join(str(part).lower().replace(" ", "_") for part in parts)


def split_tasks(items: Sequence[Item], most_rows: int) -> Tasks:
    """Items by task. A task of more than `most_rows` rows is split into clusters of similar questions, by spherical
    k-means over hashed character 4-grams (Dhillon and Modha 2001); the same rows give the same clusters.
    """
    by_name: Tasks = {}
    for item in items:
        by_name.setdefault(item.task, []).append(item)
    made: Tasks = {}
    for name, members in sorted(by_name.items()):
        count = -(-len(members) // most_rows)
        if count == 1:
            made[name] = members
            continue
        for number, member in zip(_clusters([m.question for m in members], count), members, strict=True):
            made.setdefault(f"{name}/{number:02d}", []).append(member)
    return made


def hold_out(tasks: Tasks, share: float, domains: Sequence[str], least_rows: int, seed: int) -> tuple[Tasks, Tasks]:
    """(tasks to train on, held-out tasks): all tasks of `domains`, and about `share` of the others, by a hash of their
    names.

    Tasks of fewer than `least_rows` rows, near-duplicates counted once, are in neither.

    Raises InputError domain-empty for a domain without a task, tasks-too-few where either part would be empty.
    """
    large = {name: members for name, members in tasks.items() if distinct(members) >= least_rows}
    for domain in domains:
        if not any(name.startswith(f"{domain}/") for name in large):
            raise InputError("domain-empty", f"{domain}: no task of {least_rows} rows")
    others = [name for name in large if name.partition("/")[0] not in domains]
    count = max(1, round(share * len(others))) if share else 0
    drawn = sorted(others, key=lambda name: hashlib.sha256(f"held-out/{seed}/{name}".encode()).digest())[:count]
    apart = {name for name in large if name in drawn or name.partition("/")[0] in domains}
    training = {name: members for name, members in large.items() if name not in apart}
    held_out = {name: large[name] for name in large if name in apart}
    if not training or not held_out:
        told = (
            f"{len(training)} to train on, {len(held_out)} held out, of {len(tasks)} of which {len(large)} large enough"
        )
        raise InputError("tasks-too-few", told)
    return training, held_out


def distinct(members: Sequence[Item]) -> int:
    """How many rows there are, near-duplicates counted once."""
    return len({item.group for item in members})


def _groups(questions: Sequence[str], answers: Sequence[str]) -> list[str]:
    """The first near-duplicate of each row, by the dataset's own rule: its number."""
    rows = [Row(str(n), question, answer) for n, (question, answer) in enumerate(zip(questions, answers, strict=True))]
    kept = {match.key: match.kept for match in NearDuplicateIndex().add(rows)}
    return [kept.get(row.key, row.key) for row in rows]


def _clusters(texts: Sequence[str], count: int) -> list[int]:
    """The cluster of each text. Centres begin at texts that are far from each other (Gonzalez 1985)."""
    x_RB = torch.stack([_grams(text) for text in texts])
    chosen = [0]
    nearest = x_RB @ x_RB[0]
    while len(chosen) < count:
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, x_RB @ x_RB[chosen[-1]])
    centres_CB = x_RB[chosen]
    for _ in range(_ROUNDS):
        of_R = (x_RB @ centres_CB.T).argmax(-1)
        sums = torch.zeros_like(centres_CB).index_add_(0, of_R, x_RB)
        centres_CB = torch.nn.functional.normalize(sums + 1e-9 * centres_CB, dim=-1)
    return [int(number) for number in of_R]


def _grams(text: str) -> Tensor:
    """Counts of 4-grams with digits made one, hashed into buckets, damped and of length one."""
    plain = "".join("0" if letter.isdigit() else letter for letter in text.lower())
    found = Counter(plain[at : at + _GRAM] for at in range(max(1, len(plain) - _GRAM + 1)))
    buckets = [int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=4).digest()) % _BUCKETS for gram in found]
    row = torch.zeros(_BUCKETS).index_add_(0, torch.tensor(buckets), torch.tensor(list(found.values())).float())
    return torch.nn.functional.normalize(row.sqrt(), dim=-1)
