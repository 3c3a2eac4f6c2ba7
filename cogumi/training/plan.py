"""TrainingPlan: what a training stage will do, known from the recipe and the rows alone, before a model is loaded.

plan = plan_training(recipe, Path("runs/demo/dataset"), tokenizer)
plan.steps, plan.tokens, plan.sampler().batch(0)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogumi.errors import InputError
from cogumi.lm.chat import FORMATS
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.phases import report_phase
from cogumi.recipe import Recipe, TrainSection
from cogumi.training.algorithms import Episode
from cogumi.training.claim import train_section_of
from cogumi.training.clusters import read_items
from cogumi.training.episodes import EpisodeSampler, fixed_episodes
from cogumi.training.task_split import TaskSplit, split_rows


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Tasks by part, the steps they give, and the episodes that are never trained on."""

    section: TrainSection
    seed: int
    split: TaskSplit
    steps: int
    tokens: int
    """Of all steps, support and query, by the mean length of training rows."""
    validation: list[Episode]
    test: list[Episode]

    @property
    def rows(self) -> int:
        return sum(len(members) for members in self.split.training.values())

    def sampler(self, pooled: bool = False) -> EpisodeSampler:
        """Of the training tasks; `pooled` for training without an inner loop."""
        s = self.section
        return EpisodeSampler(
            self.split.training, s.tasks_per_step, s.support, s.query, s.temperature, self.seed, pooled
        )


def plan_training(recipe: Recipe, dataset: Path, tokenizer: TrainingTokenizer) -> TrainingPlan:
    """Read and split the rows of a dataset artifact.

    Raises InputError stage-not-in-recipe, corpus-unreadable, example-too-long, domain-empty, tasks-too-few,
    support-too-small.
    """
    report_phase("plan of tasks and episodes")
    section = train_section_of(recipe)
    split = split_by_recipe(recipe, dataset, tokenizer)
    members = [item for items in split.training.values() for item in items]
    a_step = section.tasks_per_step * (section.support + section.query)
    steps = section.steps or max(1, round(section.epochs * len(members) / a_step))
    mean = sum(len(item.example.ids) for item in members) / len(members)
    sizes = (section.support, section.query)
    plan = TrainingPlan(
        section, recipe.seed, split, steps, round(steps * a_step * mean),
        fixed_episodes(split.validation, section.look_episodes, *sizes, recipe.seed),
        fixed_episodes(split.test, section.compare_episodes, *sizes, recipe.seed),
    )  # fmt: skip
    plan.sampler()
    return plan


_SPLIT = {
    "domains", "held_out_domains", "held_out_share", "most_rows", "support", "query", "max_seq_length", "too_long"
}  # fmt: skip


def split_inputs(recipe: Recipe) -> Any:
    """What of a recipe `split_by_recipe` follows from, besides seed and chat format."""
    return [train_section_of(recipe).model_dump(mode="json", include=_SPLIT), list(recipe.dataset.cells)]


def split_by_recipe(recipe: Recipe, dataset: Path, tokenizer: TrainingTokenizer) -> TaskSplit:
    """The tasks of a dataset's training rows, in three parts, as the recipe's section says."""
    section = train_section_of(recipe)
    items = read_items(
        dataset,
        tokenizer,
        FORMATS[recipe.dataset.chat_format],
        section.max_seq_length,
        drop_long=section.too_long == "drop",
    )
    for item in items:
        if not any(item.example.mask):
            raise InputError("example-without-loss", f"{item.task}: {item.question[:80]!r}")
    return split_rows(
        items,
        domains=section.domains or list(recipe.dataset.cells),
        held_out_domains=section.held_out_domains,
        held_out_share=section.held_out_share,
        most_rows=section.most_rows,
        least_rows=section.support + section.query,
        seed=recipe.seed,
    )
