"""Answers against a loop of one token and one row at a time, with the same chance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.lm.model import generation_config
from cogumi.training import writing
from cogumi.training.draft.answers import prompt_of, response_tokens
from cogumi.training.writing import Writing, continued, write_answers
from tests.unit.training.draft.models import model, prompts, tokenizer


def target_that_ends() -> LlamaForCausalLM:
    """Some of its answers end before they must."""
    target = model(seed=3)
    with torch.no_grad():
        target.model.embed_tokens.weight[tokenizer().eot] *= 3
    return target


def ends() -> list[int]:
    """All of them."""
    found: list[int] = generation_config(tokenizer()).eos_token_id
    return found


def next_logits(target: LlamaForCausalLM, ids: list[int]) -> Tensor:
    with torch.no_grad():
        found: Tensor = target(input_ids=torch.tensor([ids])).logits[0, -1]
    return found


def by_loop(target: LlamaForCausalLM, prompt: list[int], how: Writing, chance_T: Tensor) -> Encoded:
    ids = list(prompt)
    for chance in chance_T.tolist():
        logits = next_logits(target, ids)
        if how.temperature:
            below = (logits / how.temperature).softmax(-1).double().cumsum(-1)
            ids.append(int((below <= chance * below[-1]).sum()))
        else:
            ids.append(int(logits.argmax()))
        if ids[-1] in ends():
            break
    return Encoded(ids, [0] * len(prompt) + [1] * (len(ids) - len(prompt)))


@pytest.mark.parametrize("at_once", [1, 4, 64])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 0.7])
def test_answers_are_those_of_a_loop_whatever_is_in_the_batch(
    monkeypatch: pytest.MonkeyPatch, at_once: int, temperature: float
) -> None:
    monkeypatch.setattr(writing, "_ROWS_AT_ONCE", {"cpu": at_once})
    target, how = target_that_ends(), Writing(12, temperature, 4)
    before = torch.get_rng_state()
    found = write_answers(target, prompts(20), how, tokenizer())
    assert torch.equal(before, torch.get_rng_state()) and not target.training
    ended = [row.ids[-1] in ends() for row in found]
    assert any(ended) and not all(ended) and len({sum(row.mask) for row in found}) >= 3
    chance = torch.rand(20, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for number, (prompt, row) in enumerate(zip(prompts(20), found, strict=True)):
        assert row == by_loop(target, prompt, how, chance[number])
        assert prompt_of(row) == prompt


def test_greedy_answers_are_those_of_transformers() -> None:
    target, words = target_that_ends(), tokenizer()
    found = write_answers(target, prompts(6), Writing(12, 0.0, 0), words)
    config = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=ends(), pad_token_id=ends()[0])
    for prompt, row in zip(prompts(6), found, strict=True):
        with torch.no_grad():
            plain = target.generate(input_ids=torch.tensor([prompt]), generation_config=config)  # type: ignore[misc]
        assert plain[0].tolist() == row.ids


def test_who_waits_takes_the_place_of_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where the model is called. The known bad fills a batch, and computes all of it up to its longest answer."""
    monkeypatch.setattr(writing, "_ROWS_AT_ONCE", {"cpu": 16})
    target, words = model(seed=5), tokenizer().vocab_size
    seen: list[int] = []

    def counted(module: object, args: object, given: dict[str, Tensor]) -> None:
        seen.append(len(given["input_ids"]))

    target.register_forward_pre_hook(counted, with_kwargs=True)
    asked = sorted(prompts(160), key=len)
    found = continued(target, asked, Writing(60, 1.0, 0), range(0, words, 12))
    lengths = [len(answer) for answer in found]
    assert max(lengths) > 3 * sum(lengths) / 160 and max(seen) == 16
    assert sum(lengths) <= sum(seen) <= sum(lengths) / (1 - writing._ENDED)
    batches = [max(lengths[start : start + 16]) for start in range(0, 160, 16)]
    assert len(seen) < 0.75 * sum(batches) and sum(seen) < 0.6 * 16 * sum(batches)


@pytest.mark.parametrize("most", [40, 60, 90])
def test_the_cache_has_a_limit_and_one_row_alone_always_fits(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    target, held = target_that_ends(), []
    expected = write_answers(target, prompts(40), Writing(12, 1.0, 1), tokenizer())
    monkeypatch.setattr(writing, "CACHED_TOKENS", most)

    def counted(module: object, args: object, given: dict[str, Any]) -> None:
        held.append(given["attention_mask"].numel())

    target.register_forward_pre_hook(counted, with_kwargs=True)
    assert write_answers(target, prompts(40), Writing(12, 1.0, 1), tokenizer()) == expected
    assert most / 2 < max(held) <= most
    monkeypatch.setattr(writing, "CACHED_TOKENS", 5)
    assert write_answers(target, prompts(3), Writing(12, 1.0, 1), tokenizer()) == expected[:3]
    assert write_answers(target, [], Writing(12, 1.0, 1), tokenizer()) == []


@torch.no_grad()
def test_a_batch_that_is_full_lets_go_of_what_nobody_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    target, (short, *_, long) = model(seed=3), sorted(prompts(4), key=len)
    _, batch = writing._Batch.begun(target, [0, 1], [short, long])
    batch.words_B = torch.tensor([7, 8])
    monkeypatch.setattr(writing, "CACHED_TOKENS", 2 * len(long) + 2)
    assert not batch.is_full
    batch.step(target)
    assert batch.is_full
    batch.open = [True, False]
    batch.drop_ended()
    assert not batch.is_full and batch.numbers == [0] and batch.seen_BT.tolist() == [[1] * (len(short) + 1)]
    batch.words_B = torch.tensor([9])
    alone = next_logits(target, [*short, 7, 9])
    assert (batch.step(target)[0] - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_sampled_answers_have_the_models_frequencies_and_follow_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    target, words = model(seed=5), tokenizer()
    (prompt,) = prompts(1)
    monkeypatch.setattr(writing, "_ROWS_AT_ONCE", {"cpu": 1000})
    found = write_answers(target, [prompt] * 4000, Writing(1, 1.0, 7), words)
    again, other = (write_answers(target, [prompt] * 4000, Writing(1, 1.0, seed), words) for seed in (7, 8))
    assert found == again != other
    counts = torch.bincount(response_tokens(found), minlength=words.vocab_size)
    expected = 4000 * next_logits(target, prompt).softmax(-1)
    often = expected > 20
    assert often.sum() > 5
    chi2 = float(((counts - expected)[often] ** 2 / expected[often]).sum())
    assert chi2 < float(often.sum()) + 4 * (2 * float(often.sum())) ** 0.5


def test_a_word_without_probability_is_never_drawn() -> None:
    logits = torch.full((3, 5), -torch.inf)
    logits[:, 1], logits[:, 3] = 0.0, 0.0
    drawn = writing._drawn(logits, 1.0, torch.tensor([[0.0], [0.5], [1 - 2**-53]], dtype=torch.float64))
    assert drawn.tolist() == [1, 3, 3]
