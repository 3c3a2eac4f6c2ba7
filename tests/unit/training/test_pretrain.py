"""The training loop against a slow one by hand; killed at every step it ends with the same bits; damage is told."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cogumi.errors import RunError, StorageError
from cogumi.training.checkpoint import load_newest, save_checkpoint
from cogumi.training.corpus import Corpus, take_windows, window_starts
from cogumi.training.fitting import Step
from cogumi.training.pretrain import Schedule, new_llama, pretrain, validation_nll
from cogumi.training.schedule import warmup_cosine
from cogumi.training.stopping import Stop, interruptible

CONFIG = LlamaConfig(
    vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
SCHEDULE = Schedule(
    steps=8, batch_windows=3, seq_length=12, learning_rate=0.01, warmup_steps=2, weight_decay=0.1, save_every=3, seed=5
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    chance = torch.Generator().manual_seed(0)
    stream = (torch.arange(3000) % 7 + torch.randint(0, 2, (3000,), generator=chance)).int()
    return Corpus(stream[:2500], stream[2500:], 2)


class KilledHere(BaseException):
    """What a kill is to the code under test: nothing after it runs."""


def weights(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def trained(corpus: Corpus, place: Path, schedule: Schedule = SCHEDULE) -> dict[str, torch.Tensor]:
    model = new_llama(CONFIG, 1)
    assert pretrain(model, corpus, schedule, "cpu", place).finished
    return weights(model)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_loop_is_that_of_a_slow_one_by_hand(corpus: Corpus, tmp_path: Path) -> None:
    """AdamW written out, the loss token by token, gradients clipped by hand."""
    fast, losses = new_llama(CONFIG, 1).double(), []
    schedule = Schedule(4, 3, 12, 0.01, 2, 0.1, 100, 5)
    pretrain(fast, corpus, schedule, "cpu", tmp_path, lambda step: losses.append(step.loss))
    slow = new_llama(CONFIG, 1).double()
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in slow.named_parameters()}
    for step in range(4):
        tokens = take_windows(corpus.train, window_starts(2500, 12, 3, 5, step), 12)
        total = torch.zeros((), dtype=torch.float64)
        for window in tokens:
            for place in range(12):
                logits = slow(input_ids=window[None, : place + 1]).logits[0, -1].float()
                total = total - (logits[window[place + 1]] - torch.logsumexp(logits, 0))
        loss = total / 36
        slow.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in slow.parameters()))
        rate = 0.01 * (step + 1) / 2 if step < 2 else 0.01 * (0.1 + 0.9 * (1 + math.cos(math.pi * (step - 2) / 2)) / 2)
        assert warmup_cosine(step, 4, 2, 0.01) == pytest.approx(rate)
        with torch.no_grad():
            for name, p in slow.named_parameters():
                gradient = p.grad * min(1.0, 1.0 / (norm + 1e-6))
                m, v = moments[name]
                m.mul_(0.9).add_(gradient, alpha=0.1)
                v.mul_(0.95).add_(gradient**2, alpha=0.05)
                p.mul_(1 - rate * (0.1 if p.dim() > 1 else 0.0))
                p.sub_(rate * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.95 ** (step + 1))).sqrt() + 1e-8))
        assert losses[step] == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, p in slow.named_parameters():
        assert torch.allclose(p, dict(fast.named_parameters())[name], atol=2e-5), name


def test_the_same_seed_gives_the_same_model_and_another_another() -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, two, other = (weights(new_llama(CONFIG, seed)) for seed in (1, 1, 2))
    assert same(one, two) and not same(one, other)
    assert torch.equal(before, torch.get_rng_state()), "the caller's generator is left alone"


@pytest.mark.parametrize("killed_at", range(1, 8))
def test_killed_at_any_step_it_ends_with_the_same_bits(corpus: Corpus, tmp_path: Path, killed_at: int) -> None:
    whole = trained(corpus, tmp_path / "whole")

    def kill(step: Step) -> None:
        if step.step == killed_at:
            raise KilledHere

    with pytest.raises(KilledHere):
        pretrain(new_llama(CONFIG, 1), corpus, SCHEDULE, "cpu", tmp_path / "cut", kill)
    model = new_llama(CONFIG, 99)  # what it is made with does not matter where a checkpoint is
    if killed_at < SCHEDULE.save_every + 1:
        model = new_llama(CONFIG, 1)
    done = pretrain(model, corpus, SCHEDULE, "cpu", tmp_path / "cut")
    assert done.resumed_from == (killed_at - 1) // 3 * 3
    assert same(weights(model), whole)


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Background jobs are started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_an_interrupt_in_the_middle_of_a_step_saves_that_very_step(corpus: Corpus, tmp_path: Path, how: str) -> None:
    """The signal reaches the thread that waits while the other one works."""
    numbers = {"ctrl-c": signal.SIGINT, "sigterm": signal.SIGTERM}
    before = signal.getsignal(signal.SIGTERM)

    def ask(step: Step) -> None:
        if step.step == 5:
            os.kill(os.getpid(), numbers[how])
            time.sleep(0.3)

    with pytest.raises(KeyboardInterrupt if how == "ctrl-c" else SystemExit):
        interruptible(lambda stop: pretrain(new_llama(CONFIG, 1), corpus, SCHEDULE, "cpu", tmp_path / "cut", ask, stop))
    assert signal.getsignal(signal.SIGTERM) == before
    model = new_llama(CONFIG, 2)
    done = pretrain(model, corpus, SCHEDULE, "cpu", tmp_path / "cut")
    assert done.finished and done.resumed_from == 5
    assert same(weights(model), trained(corpus, tmp_path / "whole"))


def test_an_error_of_the_work_is_the_callers(corpus: Corpus) -> None:
    def fails(stop: Stop) -> None:
        raise RunError("loss-not-finite", "planted")

    with pytest.raises(RunError, match="planted"):
        interruptible(fails)


@pytest.mark.parametrize("damage", ["tensors", "state", "missing"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_told(corpus: Corpus, tmp_path: Path, damage: str) -> None:
    whole = trained(corpus, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000006", "step-00000008"]
    newest = tmp_path / "step-00000008"
    if damage == "tensors":
        content = bytearray((newest / "tensors.safetensors").read_bytes())
        content[-3] ^= 1
        (newest / "tensors.safetensors").write_bytes(content)
    elif damage == "state":
        (newest / "state.json").write_text("{")
    else:
        (newest / "tensors.safetensors").unlink()
    model = new_llama(CONFIG, 2)
    done = pretrain(model, corpus, SCHEDULE, "cpu", tmp_path)
    assert done.resumed_from == 6 and done.passed_over == ["step-00000008"]
    assert same(weights(model), whole)


@pytest.mark.parametrize("call", range(6))
def test_a_save_that_fails_anywhere_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """A full disk at the nth file operation of a save."""
    save_checkpoint(tmp_path, 1, {"w": torch.ones(3)})
    calls = iter(range(100))

    def failing(real: object) -> object:
        def operation(*args: object, **kwargs: object) -> object:
            if next(calls) == call:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)  # type: ignore[operator]

        return operation

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(Path, "rename", failing(Path.rename))
    monkeypatch.setattr(os, "replace", failing(os.replace))
    monkeypatch.setattr(Path, "mkdir", failing(Path.mkdir))
    failed = False
    try:
        save_checkpoint(tmp_path, 2, {"w": torch.zeros(3)})
    except StorageError as error:
        failed = error.code == "disk-full"
        assert failed
    monkeypatch.undo()
    held = load_newest(tmp_path)
    assert held is not None and held.passed_over == []
    assert held.step in ((1, 2) if failed else (2,)) and float(held.tensors["w"][0]) == 2 - held.step
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_weights_that_are_no_numbers_end_the_run_and_keep_the_checkpoint(corpus: Corpus, tmp_path: Path) -> None:
    trained(corpus, tmp_path)

    def poison(step: Step) -> None:
        next(model.parameters()).data.fill_(float("nan"))

    model = new_llama(CONFIG, 1)
    longer = Schedule(20, 3, 12, 0.01, 2, 0.1, 50, 5)
    with pytest.raises(RunError, match="loss-not-finite"):
        pretrain(model, corpus, longer, "cpu", tmp_path, poison)
    held = load_newest(tmp_path)
    assert held is not None and held.step == 8


def test_a_loop_that_has_ended_is_resumed_as_one_that_has(corpus: Corpus, tmp_path: Path) -> None:
    whole = trained(corpus, tmp_path)
    model = new_llama(CONFIG, 2)
    done = pretrain(model, corpus, SCHEDULE, "cpu", tmp_path, lambda step: pytest.fail("there is nothing to do"))
    assert done.finished and done.resumed_from == 8 and same(weights(model), whole)


def test_validation_covers_the_stream_evenly_and_is_that_of_a_loop(corpus: Corpus) -> None:
    model = new_llama(CONFIG, 1)
    stream = corpus.validation[:37]  # three windows of 12, none over another
    found = validation_nll(model, stream, 12, "cpu")
    slow = []
    for start in (0, 12, 24):
        tokens = stream[start : start + 13].long()
        log_p = model(input_ids=tokens[None, :-1]).logits[0].log_softmax(-1)
        slow.append(-sum(float(log_p[place, tokens[place + 1]]) for place in range(12)) / 12)
    assert found == pytest.approx(sum(slow) / 3, rel=1e-5)
    assert validation_nll(model, corpus.validation[:6], 12, "cpu") > 0, "a stream shorter than a window"
