"""Whole stages for tests: run one in this process, and read the rows it published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cogumi.dataset.given import read_questions
from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.run_folder import RunFolder


async def run_stage(
    root: Path, recipe: Recipe, name: str = "r", given: list[Path] | None = None, change: bool = False
) -> dict[str, Any]:
    with RunFolder.open(root, name, recipe, change=change) as folder:
        found = read_questions(given) if given else None
        plan = Plan.for_questions(found.questions, recipe) if found else Plan.for_recipe(recipe)
        async with open_dataset_run(recipe, folder) as run:
            return await generate(run, plan, found)


def rows_of(folder: Path, count: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (folder / "dataset" / f"training_{count}_complete.jsonl").read_text().splitlines()
    ]


def tiny(**sections: Any) -> Recipe:
    return load_recipe("tiny", [f"{key.replace('__', '.')}={value}" for key, value in sections.items()])
