"""The outer loop on tasks that can be learned: each has words of its own, which a support set shows and a prompt does
not. It gains, resumes to the bit, fits into memory, and is not fooled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from cogumi.errors import RunError
from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Algorithm, Episode, Inner, MetaWeights, new_weights
from cogumi.training.attention import by_example
from cogumi.training.body import LlamaBody
from cogumi.training.checkpoint import load_newest
from cogumi.training.clusters import Item, Tasks
from cogumi.training.episodes import EpisodeSampler, fixed_episodes
from cogumi.training.gain import by_budget, mean_gain, mean_of, query_losses
from cogumi.training.guard import Guard, Verdict
from cogumi.training.head import LastLayers, OutputHead
from cogumi.training.lora import LoraShape
from cogumi.training.meta_train import MetaSchedule, MetaStep, MetaTrained, meta_train
from cogumi.training.replay import resumes_exactly
from cogumi.training.stopping import Stop
from tests.unit.training.models import VOCABULARY, llama

INNER = Inner(Algorithm.ANIL, 2, 1.0)
SCHEDULE = MetaSchedule(steps=12, learning_rate=0.01, rate_lr=0.01, warmup_steps=2, weight_decay=0.01, clip=1.0,
                        look_every=4, patience=0, seed=3)  # fmt: skip


def wordy_tasks(count: int, rows: int = 16, seed: int = 0, longer: int = 1) -> Tasks:
    """Prompts look all alike; the answers of a task are of five words of its own."""
    made: Tasks = {}
    for number in range(count):
        chance = torch.Generator().manual_seed(1000 * seed + number)
        words = torch.randperm(VOCABULARY - 1, generator=chance)[:5] + 1
        items = []
        for row in range(rows):
            prompt = torch.randint(1, VOCABULARY, (4,), generator=chance).tolist()
            answer = words[torch.randint(0, 5, (6 * longer,), generator=chance)].tolist()
            example = Encoded([*prompt, *answer], [0] * 4 + [1] * len(answer))
            items.append(Item(example, str(row), f"t{seed}-{number}", str(row)))
        made[f"t{seed}-{number}"] = items
    return made


TASKS, HELD_OUT = wordy_tasks(12), fixed_episodes(wordy_tasks(6, seed=1), 24, 4, 4, seed=0)


def model(dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> LlamaBody:
    return LlamaBody(llama(dtype, layers=2), LoraShape(4, 8, dropout))


def fresh(body: LlamaBody, head: OutputHead | LastLayers, rate: float = 0.1) -> MetaWeights:
    made = new_weights(body, head, 2, rate, seed=0)
    parts = (made.slow, made.head, made.rates)
    return MetaWeights(*({n: w.to(body.arithmetic) for n, w in part.items()} for part in parts))


def train(
    place: Path,
    schedule: MetaSchedule = SCHEDULE,
    inner: Inner = INNER,
    tasks: Tasks = TASKS,
    steps: list[MetaStep] | None = None,
    stop: Stop | None = None,
    dropout: float = 0.0,
    body: LlamaBody | None = None,
    sampler: EpisodeSampler | None = None,
) -> MetaTrained:
    body = body or model(dropout=dropout)
    head = LastLayers(body, 0) if inner.algorithm.all_fast else OutputHead(body, 4, 8, on_hidden=True)
    sampler = sampler or EpisodeSampler(tasks, 3, 4, 4, 0.5, seed=3)
    told = steps if steps is not None else []
    return meta_train(body, head, fresh(body, head), sampler, HELD_OUT, inner, schedule, place, told.append, stop)


def same(one: MetaWeights, other: MetaWeights) -> bool:
    parts = zip((one.slow, one.head, one.rates), (other.slow, other.head, other.rates), strict=True)
    return all(torch.equal(w, b[n]) for a, b in parts for n, w in a.items())


@pytest.mark.parametrize("algorithm", [Algorithm.ANIL, Algorithm.ANIL1, Algorithm.ANIL_CROSS])
def test_it_learns_to_adapt_to_tasks_it_has_not_seen(tmp_path: Path, algorithm: Algorithm) -> None:
    """The gain on held-out tasks grows, and is more than that of plain training with the same adaptation."""
    steps: list[MetaStep] = []
    schedule = replace(SCHEDULE, steps=60, look_every=10)
    trained = train(tmp_path / "a", schedule, replace(INNER, algorithm=algorithm), steps=steps)
    gains = [step.gain for step in steps if step.gain is not None]
    assert trained.finished and trained.gain.low > 0.2 and gains[-1] > 1.5 * gains[0] > 0
    assert trained.gain.n == 24 and not trained.rewinds and not trained.discarded
    assert any(not torch.equal(r, torch.full_like(r, 0.1)) for r in trained.weights.rates.values()), "rates are learned"
    sft = train(tmp_path / "b", schedule, Inner(Algorithm.SFT, 0))
    body = model()
    head = OutputHead(body, 4, 8, on_hidden=True)
    plain = mean_gain(query_losses(body, head, sft.weights, HELD_OUT, INNER))
    assert plain.high < trained.gain.low


def test_fixed_rates_stay_fixed(tmp_path: Path) -> None:
    trained = train(tmp_path, replace(SCHEDULE, rate_lr=0.0))
    assert all(torch.equal(r, torch.full_like(r, 0.1)) for r in trained.weights.rates.values())


@pytest.mark.parametrize(("algorithm", "stops"), [(Algorithm.ANIL, range(1, 8)), (Algorithm.REPTILE, (3, 4))])
def test_stopped_at_any_step_it_ends_with_the_same_bits(
    tmp_path: Path, algorithm: Algorithm, stops: Sequence[int]
) -> None:
    inner, schedule = replace(INNER, algorithm=algorithm), replace(SCHEDULE, steps=8)
    expected = train(tmp_path / "straight", schedule, inner, dropout=0.1)
    for at in stops:
        place, stop = tmp_path / f"stopped-{at}", Stop()

        class Stopping(list[MetaStep]):
            def append(self, step: MetaStep, /, at: int = at, stop: Stop = stop) -> None:
                if step.step == at:
                    stop.ask()

        part = train(place, schedule, inner, steps=Stopping(), stop=stop, dropout=0.1)
        assert not part.finished and part.step == at
        rest = train(place, schedule, inner, dropout=0.1)
        assert rest.finished and rest.resumed_from == at and same(rest.weights, expected.weights)


class Killed(BaseException):
    """Stands for a kill where it hits: nothing of the process goes on after it."""


@pytest.mark.parametrize("calls", [1, 7, 12, 23, 30])
def test_killed_inside_the_inner_loop_it_ends_with_the_same_bits(
    tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(tmp_path / "straight")
    left, gradient = [40 * calls], OutputHead.gradient

    def dying(self: OutputHead, *given: object) -> object:
        left[0] -= 1
        if not left[0]:
            raise Killed
        return gradient(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(OutputHead, "gradient", dying)
        train(tmp_path / "killed")
        raise Killed
    rest = train(tmp_path / "killed")
    assert rest.finished and same(rest.weights, expected.weights)


def test_a_damaged_newest_checkpoint_is_passed_over_and_named(tmp_path: Path) -> None:
    expected = train(tmp_path / "straight")
    train(tmp_path / "r", replace(SCHEDULE, steps=8))
    newest = tmp_path / "r" / "step-00000008" / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-7] + b"garbage")
    rest = train(tmp_path / "r", replace(SCHEDULE, steps=12))
    assert rest.passed_over == ["step-00000008"] and rest.resumed_from == 4
    assert rest.finished and expected.finished


def test_groups_of_tasks_give_the_gradient_of_all(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", body=model(torch.float64))
    parts = train(tmp_path / "parts", replace(SCHEDULE, token_budget=100), body=model(torch.float64))
    assert parts.token_budget == 100
    pairs = [(w, parts.weights.slow[n]) for n, w in whole.weights.slow.items()]
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)


def test_out_of_memory_the_groups_shrink_and_the_batch_stays(tmp_path: Path) -> None:
    """A card that holds 90 tokens: the same weights come out as where it holds all."""

    def small(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int) -> Tensor:
        if len(q) > most:
            raise torch.OutOfMemoryError(f"{len(q)} tokens")
        return by_example(q, k, v, bounds, longest)

    most = 90
    whole = train(tmp_path / "whole")
    tight = train(tmp_path / "tight", body=LlamaBody(llama(torch.float32, layers=2), LoraShape(4, 8), small))
    assert tight.finished and tight.token_budget is not None and tight.token_budget <= 2 * most
    assert all(torch.allclose(w, tight.weights.slow[n], rtol=1e-2, atol=1e-4) for n, w in whole.weights.slow.items())
    most = 20
    with pytest.raises(RunError, match="gpu-out-of-memory"):
        train(tmp_path / "tiny", body=LlamaBody(llama(torch.float32, layers=2), LoraShape(4, 8), small))


def test_a_replay_finds_a_step_that_depends_on_more_than_its_number(tmp_path: Path) -> None:
    """Known bad: a sampler whose batches depend on how often it was asked, as one with a state that is not saved."""

    class Forgetful(EpisodeSampler):
        asked = 0

        def batch(self, step: int) -> list[Episode]:
            self.asked += 1
            return super().batch(self.asked)

    body = model(dropout=0.1)
    head = OutputHead(body, 4, 8, on_hidden=True)
    for sampler, exact in ((EpisodeSampler, True), (Forgetful, False)):
        drawn = sampler(TASKS, 3, 4, 4, 0.5, seed=0)
        two_steps = replace(SCHEDULE, steps=2, look_every=2, warmup_steps=0, probe=2)
        again = partial(meta_train, body, head, fresh(body, head), drawn, HELD_OUT[:2], INNER, two_steps)
        assert resumes_exactly(again, 2, tmp_path) is exact
        assert not tmp_path.exists()


class Planted(EpisodeSampler):
    """A sampler that damages the batches of some steps."""

    bad: range = range(0)
    kind = "noise"

    def batch(self, step: int) -> list[Episode]:
        drawn = super().batch(step)
        if step not in self.bad:
            return drawn
        return [replace(e, support=self._spoilt(e.support, step), query=self._spoilt(e.query, step + 1)) for e in drawn]

    def _spoilt(self, examples: Sequence[Encoded], step: int) -> list[Encoded]:
        chance = torch.Generator().manual_seed(step)
        return [
            Encoded([*e.ids[:4], *([1] * 6 if self.kind == "one-word" else torch.randint(1, VOCABULARY, (6,), generator=chance).tolist())], e.mask)
            for e in examples
        ]  # fmt: skip


LONG = replace(SCHEDULE, steps=120, look_every=10)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> MetaTrained:
    return train(tmp_path_factory.mktemp("clean"), LONG)


@pytest.mark.parametrize("start", [40, 63])
def test_a_burst_of_label_noise_is_found_and_undone(tmp_path: Path, clean: MetaTrained, start: int) -> None:
    sampler = Planted(TASKS, 3, 4, 4, 0.5, seed=3)
    sampler.bad = range(start, start + 20)
    steps: list[MetaStep] = []
    mended = train(tmp_path, LONG, steps=steps, sampler=sampler)
    assert mended.finished and 1 <= mended.rewinds <= 3
    assert _first_rewind(steps) <= start + 100
    assert mended.probe_loss <= 1.02 * clean.probe_loss


def test_inner_rates_ten_times_too_large_are_found_and_undone(tmp_path: Path, clean: MetaTrained) -> None:
    """Something multiplies the learned rates by ten after step 53."""
    calls = [0]

    def spoil(optimizer: torch.optim.Optimizer, *given: object) -> None:
        calls[0] += 1
        if calls[0] == 53:
            with torch.no_grad():
                for rate in optimizer.param_groups[1]["params"]:
                    rate.mul_(10)

    steps: list[MetaStep] = []
    hook = register_optimizer_step_post_hook(spoil)
    try:
        mended = train(tmp_path, LONG, steps=steps)
    finally:
        hook.remove()
    assert mended.finished and 1 <= mended.rewinds <= 3 and _first_rewind(steps) <= 53 + 100
    assert mended.probe_loss <= 1.02 * clean.probe_loss


def _first_rewind(steps: list[MetaStep]) -> int:
    return next(step.step for step, later in pairwise(steps) if later.step <= step.step)


def _looks(steps: list[MetaStep]) -> list[MetaStep]:
    return [step for step in steps if step.held_out is not None]


def test_a_gradient_that_is_no_number_changes_nothing(tmp_path: Path) -> None:
    def poisoned(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int) -> Tensor:
        out = by_example(q, k, v, bounds, longest)
        calls[0] += 1
        return out * math.nan if torch.is_grad_enabled() and calls[0] in range(100, 103) else out

    calls, steps = [0], list[MetaStep]()
    trained = train(tmp_path, replace(SCHEDULE, steps=40, look_every=20), steps=steps,
                    body=LlamaBody(llama(torch.float32, layers=2), LoraShape(4, 8), poisoned))  # fmt: skip
    assert trained.finished and 1 <= trained.discarded <= 3 and not trained.rewinds
    assert all(w.isfinite().all() for w in trained.weights.slow.values())
    assert [s.step for s in steps if not s.taken] and trained.gain.mean > 0


def test_a_run_that_stays_broken_ends_by_name(tmp_path: Path) -> None:
    def broken(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int) -> Tensor:
        calls[0] += 1
        return by_example(q, k, v, bounds, longest) * (math.nan if calls[0] > 120 else 1)

    calls = [0]
    with pytest.raises(RunError, match="training-diverged"):
        train(
            tmp_path,
            replace(SCHEDULE, steps=200),
            body=LlamaBody(llama(torch.float32, layers=2), LoraShape(4, 8), broken),
        )
    assert load_newest(tmp_path) is not None


def test_longer_and_harder_examples_do_not_alarm_it(tmp_path: Path) -> None:
    """From step 20 on half of the tasks are new, five times as long, and their loss is far higher."""
    sampler = EpisodeSampler(TASKS, 3, 4, 4, 0.5, seed=3)
    hard = EpisodeSampler(wordy_tasks(6, seed=9, longer=5), 3, 4, 4, 0.5, seed=3)

    class Mixed(EpisodeSampler):
        def batch(self, step: int) -> list[Episode]:
            return [*sampler.batch(step)[:1], *hard.batch(step)[:2]] if step >= 24 else sampler.batch(step)

    steps: list[MetaStep] = []
    trained = train(tmp_path, replace(SCHEDULE, steps=48), steps=steps, sampler=Mixed(TASKS, 3, 4, 4, 0.5, seed=3))
    before, after = ([s.tokens for s in steps if lo <= s.step < hi] for lo, hi in ((1, 24), (26, 48)))
    assert min(after) > 1.5 * max(before)
    assert trained.finished and trained.rewinds == 0


@pytest.mark.parametrize("seed", range(5))
def test_healthy_runs_are_left_alone(tmp_path: Path, seed: int) -> None:
    trained = train(
        tmp_path, replace(SCHEDULE, steps=40, seed=seed), sampler=EpisodeSampler(TASKS, 3, 4, 4, 0.5, seed=seed)
    )
    assert trained.finished and trained.rewinds == 0 and trained.discarded == 0


def test_it_stops_early_where_the_held_out_loss_does_not_fall_and_keeps_the_best(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, steps=400, look_every=5, patience=2, learning_rate=0.02)
    steps: list[MetaStep] = []
    trained = train(tmp_path, schedule, tasks=wordy_tasks(3, rows=8), steps=steps)
    assert trained.finished and trained.step < 400 and trained.best_step == trained.step - 10
    best = min(_looks(steps), key=lambda s: s.held_out or math.inf)
    assert best.step == trained.best_step and best.gain == pytest.approx(trained.gain.mean)


def test_a_guard_tells_damage_from_chance() -> None:
    guard, chance = Guard(), torch.Generator().manual_seed(0)
    base = torch.rand(24, dtype=torch.float64, generator=chance) + 1
    noise = torch.randn(24, dtype=torch.float64, generator=chance)
    noise = (noise - noise.mean()) / noise.std()
    for worse, verdict in (
        (torch.zeros(24), Verdict.GOOD),
        (0.4 * noise + 0.07, Verdict.GOOD),  # less than a deviation of the mean, 0.08
        (0.4 * noise + 0.2, Verdict.DOUBTFUL),
        (0.4 * noise + 0.4, Verdict.DAMAGED),
        (torch.full((24,), 0.01), Verdict.GOOD),  # sure, but too small to matter
        (torch.full((24,), 0.03), Verdict.DOUBTFUL),
        (torch.full((24,), 0.1), Verdict.DAMAGED),
        (torch.full((24,), math.nan), Verdict.DAMAGED),
    ):
        assert guard.judge(base + worse) is verdict, worse
        assert guard.best == base.tolist()
    assert guard.judge(base - 0.2) is Verdict.GOOD and guard.best_loss == pytest.approx(float(base.mean()) - 0.2)
    assert Guard(**guard.to_json()) == guard


def test_means_and_their_intervals() -> None:
    found = mean_of(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert found.mean == 3.0 and found.n == 4
    assert found.high - found.mean == pytest.approx(1.959964 * torch.tensor([1.0, 2, 3, 6]).std() / 2)
    assert mean_of(torch.tensor([1.0])).high == math.inf


def test_an_interval_by_task_is_as_wide_as_one_of_the_tasks_means() -> None:
    """Four tasks of five equal episodes each: twenty episodes, four values, Student's t of three."""
    means = torch.tensor([1.0, 2.0, 4.0, 5.0], dtype=torch.float64)
    values, tasks = means.repeat_interleave(5), [name for name in "abcd" for _ in range(5)]
    found, loose = mean_of(values, tasks), mean_of(values)
    half = 3.1824 * float(means.std()) / 2
    assert (found.n, found.groups) == (20, 4) and found.mean == pytest.approx(3.0)
    assert found.high - found.mean == pytest.approx(half, rel=0.01) and loose.high < found.high
    each = mean_of(values, [str(n) for n in range(20)])
    assert each.high - each.mean == pytest.approx((loose.high - loose.mean) * 2.0930 / 1.96, rel=0.001)
    assert mean_of(values, ["one"] * 20).high == math.inf
    episodes = HELD_OUT[:5]
    assert [len(group) for group in by_budget(episodes, 2 * episodes[0].tokens)] == [2, 2, 1]
    assert [len(group) for group in by_budget(episodes, 1)] == [1] * 5
