"""Versioned datasets: a scheduled run makes new rows, dedups them against earlier versions, publishes the next one.

The period (a week, a day) goes into the seed, so every prompt of week two differs from week one's; a run of the same
period is the same run, which buys nothing twice and publishes nothing twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cogumi.dataset.augment import augmented_questions
from cogumi.dataset.balance import balance_questions, by_own_tokenizer
from cogumi.dataset.context import DatasetRun
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.given import Given
from cogumi.dataset.near_duplicates import Row
from cogumi.dataset.plan import Plan
from cogumi.dataset.published import open_published
from cogumi.dataset.reviewed import REVIEW_FILE, rejected_marks
from cogumi.recipe import Recipe
from cogumi.store.files import write_json
from cogumi.store.versions import VERSION_FILE, Version, Versions

_EARLIER = "versions/earlier"


@dataclass(slots=True)
class Diff:
    """What changed from one version to another, by question."""

    older: str
    newer: str
    added: int = 0
    removed: int = 0
    answers_changed: int = 0
    kept: int = 0
    cells: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def open_plan(run: DatasetRun, given: Given | None, versions: Versions | None) -> Plan:
    """The plan of a run, with the rows of earlier versions taken.

    Which versions are earlier is decided when the run first starts: a run that is resumed after others have published
    asks what it asked before.
    """
    if given is not None:
        section = run.recipe.dataset
        balanced = await asyncio.to_thread(balance_questions, given.questions, section, by_own_tokenizer)
        plan = Plan.for_questions(balanced.kept, run.recipe)
        plan.balance = balanced.to_json()
    else:
        plan = Plan.for_recipe(run.recipe, await asyncio.to_thread(augmented_questions, run.recipe))
    earlier: list[Version] = []
    if versions is not None:
        found = await asyncio.to_thread(versions.all)
        await run.staff.ledger.remember(_EARLIER, [version.number for version in found])
        numbers = set(run.staff.ledger.recall(_EARLIER) or [])
        earlier = [version for version in found if version.number in numbers]
    await asyncio.to_thread(_take_known, plan, run.recipe, versions, earlier)
    return plan


def _take_known(plan: Plan, recipe: Recipe, versions: Versions | None, earlier: list[Version]) -> None:
    """Make the rows of earlier versions, and of the recipe's `against` folders, count as taken."""
    known: set[str] = set(plan.known)
    sources = []
    if versions is not None:
        sources = [_version_rows(versions, version) for version in earlier]
        for version in (v for v in earlier if REVIEW_FILE in v.files):
            lines = versions.read(version, REVIEW_FILE).splitlines()
            known |= rejected_marks([orjson.loads(line) for line in lines])
    sources += [_folder_rows(Path(folder)) for folder in recipe.dataset.near_duplicates.against]
    for source in sources:
        for key, row in source:
            known.add(fingerprint(row["question"]))
            plan.index.add([Row(key, row["question"], row["answer"])])
    plan.known = frozenset(known)


def publish_version(versions: Versions, folder: Path, run: str) -> dict[str, Any]:
    """Publish a run's dataset as the next version, and keep number and diff beside the report; returns both."""
    before = versions.all()
    version = versions.publish(folder / "dataset", run)
    older = next((v for v in reversed(before) if v.number < version.number), None)
    told: dict[str, Any] = {"dataset": versions.name, "version": version.number, "diff": None}
    if older is not None:
        told["diff"] = diff_versions(versions, older, version).to_json()
    write_json(folder / VERSION_FILE, told)
    return told


def diff_versions(versions: Versions, older: Version, newer: Version) -> Diff:
    """Rows added, removed, and answered differently, in all and by cell."""
    one = {fingerprint(row["question"]): row for _, row in _version_rows(versions, older)}
    two = {fingerprint(row["question"]): row for _, row in _version_rows(versions, newer)}
    diff = Diff(older.label, newer.label)
    cells: dict[str, Counter[str]] = {}
    for mark in one.keys() | two.keys():
        row = two.get(mark) or one[mark]
        kind = (
            "removed" if mark not in two
            else "added" if mark not in one
            else "kept" if one[mark]["answer"] == two[mark]["answer"]
            else "answers_changed"
        )  # fmt: skip
        setattr(diff, kind, getattr(diff, kind) + 1)
        cells.setdefault(f"{row['domain']}/{row['difficulty']}", Counter())[kind] += 1
    diff.cells = {cell: dict(counts) for cell, counts in sorted(cells.items())}
    return diff


def _version_rows(versions: Versions, version: Version) -> Iterator[tuple[str, dict[str, Any]]]:
    (name,) = (n for n in version.files if n.startswith("training_") and n.endswith("_complete.jsonl"))
    for line in versions.read(version, name).splitlines():
        row = orjson.loads(line)
        yield f"{version.label}/{row['question_id']}", row


def _folder_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in open_published(folder).rows():
        yield f"{folder}/{row['question_id']}", row
