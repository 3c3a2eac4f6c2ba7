"""meta_train: the outer loop. AdamW over tasks, held-out gain, early stop, guard, checkpoints.

    result = meta_train(body, head, weights, sampler, held_out, inner, schedule, Path("checkpoints/train-1f"))

Bit-exact when resumed on the same machine: batches and dropout depend on seed and step alone. A step's tasks go through
the body in groups of at most `token_budget` tokens; where memory does not suffice the budget is halved and the step
taken again from its start, so that the global batch stays what it is.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cogumi.errors import RunError
from cogumi.phases import within
from cogumi.training.algorithms import Episode, Inner, MetaWeights, TaskLoss, meta_loss
from cogumi.training.body import LlamaBody
from cogumi.training.checkpoint import Checkpoint, load_newest, save_checkpoint
from cogumi.training.episodes import EpisodeSampler
from cogumi.training.gain import Mean, by_budget, in_step, mean_gain, query_losses
from cogumi.training.guard import Guard, Verdict
from cogumi.training.head import Head
from cogumi.training.schedule import warmup_cosine
from cogumi.training.stopping import Stop
from cogumi.training.team import check_same

_MOST_REWINDS = 3
_MOST_DISCARDED = 5  # in a row
_LEAST_RATE = 1e-6


@dataclass(frozen=True, slots=True)
class MetaSchedule:
    """The outer loop. `rate_lr` is the learning rate of step sizes, 0 for fixed ones; `patience` counts evaluations
    without a better held-out loss, 0 for no early stop; `look_every` steps lie between evaluations, which probe,
    measure the held-out gain and save.
    """

    steps: int
    learning_rate: float
    rate_lr: float
    warmup_steps: int
    weight_decay: float
    clip: float
    look_every: int
    patience: int
    seed: int
    token_budget: int | None = None
    probe: int = 24
    """Episodes of training tasks that the guard judges by."""


@dataclass(frozen=True, slots=True)
class MetaStep:
    """What one step of `steps` told. `support_first` and `support_last` are the losses before the first and the last
    inner step; `gain` is there where the step was followed by an evaluation; `seconds` are the run's until now.
    """

    step: int
    steps: int
    loss: float
    support_first: float
    support_last: float
    norm: float
    learning_rate: float
    tokens: int
    tokens_per_s: float
    seconds: float
    taken: bool
    gain: float | None = None
    held_out: float | None = None


@dataclass(frozen=True, slots=True)
class MetaTrained:
    """The end of a loop. `weights` are those with the best held-out loss; `finished` is False where it was asked to
    stop. `loss_first` and `loss_last` are held-out losses after adaptation, of the weights given and of the best, whose
    gain is `gain`. `probe_loss` is the best on training tasks. Seconds and tokens are those of all sessions.
    """

    weights: MetaWeights
    finished: bool
    step: int
    best_step: int
    loss_first: float
    loss_last: float
    gain: Mean
    resumed_from: int
    passed_over: list[str]
    probe_loss: float
    rewinds: int
    discarded: int
    token_budget: int | None
    seconds: float
    tokens_per_s: float


@dataclass(slots=True)
class _State:
    """What changes besides weights and optimizer, and is saved with them."""

    step: int = 0
    skipped: int = 0
    """Batches that are passed over for good, since a rewind began anew after them."""
    first_loss: float = math.inf
    best_losses: list[list[float]] = field(default_factory=list)
    """Of the best look: each held-out episode before and after adaptation."""
    best_step: int = 0
    stale: int = 0
    token_budget: int | None = None
    score_budget: int | None = None
    """As the other, of evaluations, which keep nothing for a way back."""
    seconds: float = 0.0
    tokens: int = 0

    @property
    def best_loss(self) -> float:
        return sum(after for _, after in self.best_losses) / len(self.best_losses) if self.best_losses else math.inf


class _Run:
    """One call of meta_train: what its parts share."""

    def __init__(self, body: LlamaBody, head: Head, weights: MetaWeights, inner: Inner, schedule: MetaSchedule) -> None:
        self.body, self.head, self.inner, self.schedule, self.team = body, head, inner, schedule, body.team
        self.weights = MetaWeights(*({n: w.detach().clone() for n, w in part.items()} for part in _parts(weights)))
        trained = [*self.weights.slow.values(), *self.weights.head.values()]
        self.trained = trained
        self.rates = list(self.weights.rates.values()) if schedule.rate_lr else []
        for tensor in [*trained, *self.rates]:
            tensor.requires_grad_()
        groups: list[dict[str, Any]] = [{"params": trained, "weight_decay": schedule.weight_decay}]
        if self.rates:
            groups.append({"params": self.rates, "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate)
        self.best = _copied(self.weights)
        self.state = _State(token_budget=schedule.token_budget, score_budget=schedule.token_budget)
        self.guard = Guard()

    def take(self, episodes: Sequence[Episode]) -> tuple[float, float, list[float], bool]:
        """One step: (loss, norm of the gradient, what `_gradient` told of the tasks, whether it was taken)."""
        mine = self.team.share(episodes)
        while True:
            error = ""
            try:
                loss, told = self._gradient(mine, len(episodes))
            except torch.OutOfMemoryError as raised:
                error = self._refused(raised)
            if not self.team.any(bool(error)):
                break
            self._less_memory(mine, error or "in another process")
        self.team.sum_gradients([*self.trained, *self.rates])
        loss, *told = self.team.sum([loss, *told])
        norm = float(torch.nn.utils.clip_grad_norm_([*self.trained, *self.rates], self.schedule.clip))
        taken = self.guard.takes(loss, norm)
        if taken:
            self._set_rates()
            self.optimizer.step()
            with torch.no_grad():
                for rate in self.rates:
                    rate.clamp_(min=_LEAST_RATE)
        return loss, norm, told, taken

    def losses(self, weights: MetaWeights, episodes: Sequence[Episode]) -> Tensor:
        """Query losses before and after adaptation, E2."""
        while True:
            error = ""
            try:
                found = query_losses(self.body, self.head, weights, episodes, self.inner, self.state.score_budget)
            except torch.OutOfMemoryError as raised:
                error = self._refused(raised)
            if not self.team.any(bool(error)):
                return found
            longest = max(len(row.ids) for episode in episodes for row in (*episode.support, *episode.query))
            held = self.state.score_budget or sum(episode.tokens for episode in episodes)
            if held <= longest:
                raise RunError("gpu-out-of-memory", f"a row of {longest} tokens: {error or 'in another process'}")
            self.state.score_budget = max(longest, held // 2)
            _free()

    def _gradient(self, mine: Sequence[Episode], tasks: int) -> tuple[float, list[float]]:
        """This process's part of the loss of `tasks` tasks, its gradient left in the weights; and its parts of the mean
        losses: of the query, and of the support before the first and the last inner step.
        """
        _seed(self.schedule.seed, self.state.step + self.state.skipped, self.team.rank)
        self.optimizer.zero_grad(set_to_none=True)
        total, told = 0.0, torch.zeros(3, dtype=torch.float64)
        for group, counts in in_step(self.body, by_budget(mine, self.state.token_budget)):
            loss, found = meta_loss(self.body, self.head, self.weights, group, self.inner)
            loss = loss * (counts * len(group) / tasks)
            loss.backward()
            total += float(loss.detach())
            told += counts * len(group) / tasks * _means(found)
        return total, told.tolist()

    def _refused(self, error: Exception) -> str:
        """What is told of memory that was not there. Where the base is in parts, the others wait for this process's
        share of a layer and cannot be asked to begin anew. Raises RunError gpu-out-of-memory there.
        """
        if self.body.in_parts:
            raise RunError("gpu-out-of-memory", f"with the base in parts, set train.token_budget: {error}")
        return str(error) or "out of memory"

    def _less_memory(self, mine: Sequence[Episode], error: str) -> None:
        """Halve the budget, from what the largest group of anyone took. Raises RunError gpu-out-of-memory where a task
        by itself does not fit.
        """
        groups = list(by_budget(mine, self.state.token_budget))
        if self.team.most(max(len(group) for group in groups)) == 1:
            tokens = max(episode.tokens for episode in mine)
            raise RunError("gpu-out-of-memory", f"a task of {tokens} tokens: {error}")
        self.optimizer.zero_grad(set_to_none=True)
        _free()
        self.state.token_budget = self.team.most(max(sum(e.tokens for e in group) for group in groups)) // 2

    def _set_rates(self) -> None:
        schedule, step = self.schedule, self.state.step
        for group, peak in zip(self.optimizer.param_groups, (schedule.learning_rate, schedule.rate_lr), strict=False):
            group["lr"] = warmup_cosine(step, schedule.steps, schedule.warmup_steps, peak)

    def save(self, place: Path, good: bool) -> None:
        """Weights, moments, the best weights, and the state; `good` where the probe has just been found good."""
        tensors = {f"now/{name}": tensor for name, tensor in _named(self.weights)}
        tensors |= {f"best/{name}": tensor for name, tensor in _named(self.best)}
        for name, tensor in _named(self.weights):
            held = self.optimizer.state.get(tensor, {})
            tensors |= {f"{key}/{name}": value for key, value in held.items()}
        state = {**{name: getattr(self.state, name) for name in _State.__slots__}, "guard": self.guard.to_json()}
        if self.team.first:
            save_checkpoint(place, self.state.step, tensors, {**state, "good": good})
        check_same(self.team, [*self.trained, *self.rates])

    @torch.no_grad()
    def restore(self, held: Checkpoint) -> None:
        tensors, state = held.tensors, dict(held.state)
        for name, tensor in _named(self.weights):
            tensor.copy_(tensors[f"now/{name}"])
            moments = {key: tensors.get(f"{key}/{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            self.optimizer.state.pop(tensor, None)
            if moments["step"] is not None:
                self.optimizer.state[tensor] = {
                    key: value.to("cpu" if key == "step" else tensor.device)
                    for key, value in moments.items()
                    if value is not None
                }
        for name, tensor in _named(self.best):
            tensor.copy_(tensors[f"best/{name}"])
        self.guard = Guard(**state.pop("guard"))
        state.pop("good")
        self.state = _State(**state)


def meta_train(
    body: LlamaBody,
    head: Head,
    weights: MetaWeights,
    sampler: EpisodeSampler,
    held_out: Sequence[Episode],
    inner: Inner,
    schedule: MetaSchedule,
    checkpoints: Path,
    watch: Callable[[MetaStep], None] = lambda step: None,
    stop: Stop | None = None,
) -> MetaTrained:
    """Train from `weights`, or go on from the newest checkpoint. Asked to stop, it saves and ends.

    Raises RunError training-diverged after three rewinds, gpu-out-of-memory; StorageError disk-full, disk-error.
    """
    run = _Run(body, head, weights, inner, schedule)
    probe = [sampler.batch(step)[0] for step in range(schedule.probe)]
    held = load_newest(checkpoints)
    run.team.wait()
    if held is not None:
        run.restore(held)
    else:  # what a rewind can always go back to
        run.guard.judge(run.losses(run.weights, probe)[:, 1])
        _remember_best(run, _evaluated(run, held_out))
        run.state.first_loss = run.state.best_loss
        run.save(checkpoints, good=True)
    first, state, stop = run.state.step, run.state, stop or Stop()
    clock = time.monotonic()
    while state.step < schedule.steps and not run.team.any(stop.asked) and not _is_stale(state, schedule):
        episodes = sampler.batch(state.step + state.skipped)
        loss, norm, told, taken = run.take(episodes)
        state.step += 1
        state.tokens += sum(episode.tokens for episode in episodes)
        clock = _count(state, clock)
        step = _told(run, loss, norm, told, taken, sum(e.tokens for e in episodes))
        if run.guard.in_a_row >= _MOST_DISCARDED:
            state = _rewound(run, checkpoints)
        elif state.step % schedule.look_every == 0 or state.step == schedule.steps:
            verdict = run.guard.judge(run.losses(run.weights, probe)[:, 1])
            if verdict is Verdict.DAMAGED:
                state = _rewound(run, checkpoints)
            else:
                losses_E2 = _evaluated(run, held_out)
                _remember_best(run, losses_E2)
                clock = _count(state, clock)
                run.save(checkpoints, good=verdict is Verdict.GOOD)
                step = replace(step, gain=mean_gain(losses_E2).mean, held_out=float(losses_E2[:, 1].mean()))
        watch(step)
    finished = state.step >= schedule.steps or _is_stale(state, schedule)
    if not finished and state.step % schedule.look_every:
        run.save(checkpoints, good=False)
    gain = mean_gain(torch.tensor(state.best_losses, dtype=torch.float64))
    return MetaTrained(
        run.best, finished, state.step, state.best_step, state.first_loss, state.best_loss, gain, first,
        held.passed_over if held else [],
        run.guard.best_loss, run.guard.rewinds, run.guard.discarded, state.token_budget, state.seconds,
        state.tokens / max(state.seconds, 1e-9),
    )  # fmt: skip


def _rewound(run: _Run, checkpoints: Path) -> _State:
    """Back to the newest good checkpoint, and on with other batches."""
    rewinds, reached = run.guard.rewinds + 1, run.state.step + run.state.skipped
    held = load_newest(checkpoints, lambda state: bool(state["good"]))
    if rewinds > _MOST_REWINDS or held is None:
        raise RunError("training-diverged", f"step {run.state.step}, {rewinds - 1} rewinds before")
    discarded, seconds, tokens = run.guard.discarded, run.state.seconds, run.state.tokens
    run.restore(held)
    run.state.seconds, run.state.tokens = seconds, tokens
    run.guard.rewinds, run.guard.discarded, run.guard.in_a_row = rewinds, discarded, 0
    run.state.skipped = reached - run.state.step
    return run.state


def _evaluated(run: _Run, held_out: Sequence[Episode]) -> Tensor:
    """Losses of held-out episodes, E2."""
    with within(f"step {run.state.step}"):
        return run.losses(run.weights, held_out)


def _remember_best(run: _Run, losses_E2: Tensor) -> None:
    state = run.state
    if float(losses_E2[:, 1].mean()) < state.best_loss:
        state.best_losses, state.best_step, state.stale = losses_E2.tolist(), state.step, 0
        run.best = _copied(run.weights)
    else:
        state.stale += 1


def _is_stale(state: _State, schedule: MetaSchedule) -> bool:
    return bool(schedule.patience) and state.stale >= schedule.patience


def _count(state: _State, clock: float) -> float:
    """Add the time since `clock` to the run's; returns the time now."""
    now = time.monotonic()
    state.seconds += now - clock
    return now


def _means(told: Sequence[TaskLoss]) -> Tensor:
    """Over tasks: the query loss, and the support losses before the first and the last inner step; NaN for none."""
    query = torch.stack([one.query for one in told]).double().mean()
    support = [torch.stack([one.support[0], one.support[-1]]).double() for one in told if one.support]
    first, last = torch.stack(support).mean(0).tolist() if support else (math.nan, math.nan)
    return torch.tensor([float(query), first, last], dtype=torch.float64)


def _told(run: _Run, loss: float, norm: float, told: list[float], taken: bool, tokens: int) -> MetaStep:
    query, first, last = told
    used = run.optimizer.param_groups[0]["lr"]
    rate = run.state.tokens / max(run.state.seconds, 1e-9)
    state = run.state
    return MetaStep(state.step, run.schedule.steps, query, first, last, norm, used, tokens, rate, state.seconds, taken)


def _parts(weights: MetaWeights) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    return weights.slow, weights.head, weights.rates


def _named(weights: MetaWeights) -> list[tuple[str, Tensor]]:
    parts = zip(("slow", "head", "rates"), _parts(weights), strict=True)
    return [(f"{part}/{name}", tensor) for part, found in parts for name, tensor in found.items()]


def _copied(weights: MetaWeights) -> MetaWeights:
    return MetaWeights(*({n: w.detach().clone() for n, w in part.items()} for part in _parts(weights)))


def _free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _seed(seed: int, step: int, rank: int) -> None:
    """Of dropout: the same step drops the same, in a run that was resumed too; each process for itself."""
    digest = hashlib.sha256(f"{seed}/dropout/{step}{f'/{rank}' if rank else ''}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))
