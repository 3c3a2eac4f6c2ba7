"""Arms: the adapter and, beside it, plain SFT on the same rows, each by the same outer loop.

bench = new_bench(section, model, seed)
arms = run_arms(bench, plan, checkpoints, watch, stop)

An arm that has finished is not trained again: its newest checkpoint holds its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from cogumi.errors import RunError
from cogumi.phases import report_phase, within
from cogumi.recipe import TrainSection
from cogumi.training.algorithms import Algorithm, Episode, Inner, MetaWeights, new_weights
from cogumi.training.attention import plain
from cogumi.training.body import Keep, LlamaBody
from cogumi.training.gain import episode_features
from cogumi.training.head import Head, LastLayers, OutputHead
from cogumi.training.inner import adapt_head, new_rates
from cogumi.training.lora import LoraShape
from cogumi.training.meta_train import MetaSchedule, MetaStep, MetaTrained, meta_train
from cogumi.training.metrics import MetricsFile
from cogumi.training.plan import TrainingPlan
from cogumi.training.replay import resumes_exactly
from cogumi.training.stopping import Stop
from cogumi.training.team import ALONE, Team

META, SFT = "meta", "sft"
Watch = Callable[[str, MetaStep], None]
"""Is told of every step of an arm."""
_REPLAYED = 2  # steps
_RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(slots=True)
class Arms:
    """What was trained: the best of each arm, the name that its files have, and held-out losses by learning rate, None
    for one that diverged.
    """

    trained: dict[str, MetaTrained]
    files: dict[str, str]
    losses: dict[str, dict[str, float | None]]
    seconds: float
    """Of all that was trained to its end, kept or not."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What both arms work with. `fresh` are the weights that they begin with, which change nothing yet."""

    section: TrainSection
    body: LlamaBody
    head: Head
    fresh: MetaWeights
    seed: int

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm(self.section.algorithm)

    def inner(self, algorithm: Algorithm) -> Inner:
        return Inner(algorithm, self.section.inner.steps, self.section.inner.clip)


def new_bench(section: TrainSection, model: LlamaForCausalLM, seed: int, team: Team = ALONE) -> Bench:
    """Body, head and fresh weights as the recipe's section says, on the model's device, for a team's processes."""
    algorithm, lora = Algorithm(section.algorithm), section.lora
    layered = algorithm.all_fast or section.head.kind == "last_layers"
    twice = layered and algorithm.second_order  # through attention, which the fast kernels and fused layers do not give
    on_gpu = model.device.type == "cuda"
    body = LlamaBody(
        model,
        LoraShape(lora.rank, lora.alpha, lora.dropout, tuple(lora.modules)),
        plain if twice else None,
        compiled=section.compile and on_gpu and not twice,
        keep=Keep(section.keep),
        team=team,
    )
    head = _head(section, body, algorithm)
    return Bench(section, body, head, new_weights(body, head, section.inner.steps, section.inner.rate, seed), seed)


def run_arms(bench: Bench, plan: TrainingPlan, checkpoints: Path, watch: Watch, stop: Stop | None = None) -> Arms:
    """The adapter, then plain SFT, each at every learning rate of the sweep, so that neither is a straw man; the best
    of each is kept. Raises RunError run-stopped, training-diverged where every rate is too high, and as meta_train.
    """
    section, arms = bench.section, Arms({}, {}, {}, 0.0)
    algorithms = {META: bench.algorithm}
    if section.sft_control and bench.algorithm is not Algorithm.SFT:
        algorithms[SFT] = Algorithm.SFT
    for name, algorithm in algorithms.items():
        tried: dict[str, MetaTrained] = {}
        losses: dict[str, float | None] = {}
        for factor in section.sweep:
            file = name if len(section.sweep) == 1 else f"{name}-{factor:g}"
            try:
                tried[file] = run_arm(file, algorithm, factor, bench, plan, checkpoints, watch, stop)
            except RunError as error:  # too high a rate is no reason to lose the others
                if error.code != "training-diverged":
                    raise
                diverged = error
            losses[f"{section.learning_rate * factor:g}"] = tried[file].loss_last if file in tried else None
        if not tried:
            raise diverged
        best = min(tried, key=lambda file: tried[file].loss_last)
        arms.trained[name], arms.files[name], arms.losses[name] = tried[best], best, losses
        arms.seconds += sum(arm.seconds for arm in tried.values())
    return arms


def run_arm(
    name: str,
    algorithm: Algorithm,
    factor: float,
    bench: Bench,
    plan: TrainingPlan,
    checkpoints: Path,
    watch: Watch,
    stop: Stop | None,
) -> MetaTrained:
    """Train an arm at `factor` times the learning rate, or go on with it; its steps go to NAME.jsonl beside its
    checkpoints. Raises RunError run-stopped, and as meta_train.
    """
    schedule = schedule_of(bench.section, plan.steps, algorithm, bench.seed)
    schedule = replace(schedule, learning_rate=schedule.learning_rate * factor)
    writes = bench.body.team.first
    with MetricsFile(checkpoints / f"{name}.jsonl") if writes else nullcontext() as metrics:

        def told(step: MetaStep) -> None:
            if metrics is not None:
                metrics.add(step)
            watch(name, step)

        trained = _train(bench, plan, algorithm, schedule, plan.validation, checkpoints / name, told, stop)
    if not trained.finished:
        raise RunError("run-stopped", f"{name}, step {trained.step} of {plan.steps}")
    return trained


def arm_resumes_exactly(bench: Bench, plan: TrainingPlan, place: Path) -> bool:
    """Two steps of the adapter's own kind, on its own device: straight, and stopped between them."""
    schedule = replace(
        schedule_of(bench.section, _REPLAYED, bench.algorithm, bench.seed), look_every=_REPLAYED, patience=0, probe=2
    )

    def train(folder: Path, watch: Callable[[MetaStep], None], stop: Stop) -> None:
        _train(bench, plan, bench.algorithm, schedule, plan.validation[:2], folder, watch, stop)

    with within("check of an exact resume"):
        return resumes_exactly(train, _REPLAYED, place, bench.body.team)


def _train(
    bench: Bench,
    plan: TrainingPlan,
    algorithm: Algorithm,
    schedule: MetaSchedule,
    held_out: list[Episode],
    place: Path,
    watch: Callable[[MetaStep], None],
    stop: Stop | None,
) -> MetaTrained:
    sampler = plan.sampler(pooled=algorithm is Algorithm.SFT)
    inner = bench.inner(algorithm)
    return meta_train(bench.body, bench.head, bench.fresh, sampler, held_out, inner, schedule, place, watch, stop)


def schedule_of(section: TrainSection, steps: int, algorithm: Algorithm, seed: int) -> MetaSchedule:
    """The outer loop. SFT learns no step sizes, since it takes no inner step."""
    learns = section.inner.learn_rates and algorithm not in (Algorithm.SFT, Algorithm.REPTILE)
    return MetaSchedule(
        steps=steps,
        learning_rate=section.learning_rate,
        rate_lr=section.inner.rate_learning_rate if learns else 0.0,
        warmup_steps=round(section.warmup_share * steps),
        weight_decay=section.weight_decay,
        clip=section.clip,
        look_every=section.look_every,
        patience=section.patience,
        seed=seed,
        token_budget=section.token_budget,
    )


def with_best_rate(
    bench: Bench, weights: MetaWeights, episodes: list[Episode], token_budget: int
) -> tuple[MetaWeights, float]:
    """Weights that have learned no step sizes, with the one that adapts best on these episodes; and that one."""
    inner, head, body = bench.inner(Algorithm.SFT), bench.head, bench.body
    tried = {}
    with body.evaluating():
        slow = body.prepared(weights.slow)
        support, query = episode_features(body, head, slow, episodes, inner, token_budget)
        for number, rate in enumerate(_RATES):
            report_phase("search for a step size", number, len(_RATES), "step sizes")
            rates = {name: w.to(body.device) for name, w in new_rates(weights.head, inner.steps, rate).items()}
            losses = []
            for shown, judged in zip(support, query, strict=True):
                fast, _ = adapt_head(head, shown, weights.head, rates, inner.steps, inner.clip, False)
                losses.append(head.loss(judged, fast))
            tried[rate] = (float(torch.stack(losses).nan_to_num(math.inf).mean()), rates)
    rate = min(tried, key=lambda rate: tried[rate][0])
    return replace(weights, rates=tried[rate][1]), rate


def _head(section: TrainSection, body: LlamaBody, algorithm: Algorithm) -> Head:
    if algorithm.all_fast:
        return LastLayers(body, 0)
    head = section.head
    if head.kind == "last_layers":
        return LastLayers(body, max(0, body.layers - head.layers))
    return OutputHead(body, head.rank, head.alpha, on_hidden=head.kind == "final_hidden")
