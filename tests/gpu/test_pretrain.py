"""The base model's loop on a real card: its arithmetic against the CPU's, its memory against what was claimed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig

from cogumi.errors import RunError
from cogumi.lm.device import claim_device
from cogumi.recipe import BaseSection
from cogumi.training.base import schedule_of
from cogumi.training.claim import memory_gib
from cogumi.training.corpus import Corpus, take_windows
from cogumi.training.pretrain import new_llama, pretrain, validation_nll, window_loss

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")]
SECTION = BaseSection(
    hidden_size=256, intermediate_size=704, layers=4, heads=4, kv_heads=2, seq_length=128, batch_windows=16, steps=60,
    warmup_steps=5, learning_rate=0.003, save_every=20,
)  # fmt: skip
VOCAB = 512


def config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCAB, hidden_size=256, intermediate_size=704, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Sums modulo the vocabulary: each token is a function of the two before it."""
    tokens = [1, 1]
    for place in range(40_000):
        tokens.append((tokens[-1] * 3 + tokens[-2] + (place % 2)) % 97)
    stream = torch.tensor(tokens, dtype=torch.int32)
    return Corpus(stream[:36_000], stream[36_000:], 1)


def test_bf16_on_the_card_is_fp32_on_the_cpu_within_its_rounding(corpus: Corpus) -> None:
    model = new_llama(config(), 0)
    windows = take_windows(corpus.train, torch.arange(0, 1600, 100), 128)
    plain = float(window_loss(model, windows, "cpu").detach())
    fast = float(window_loss(model.to("cuda"), windows, "cuda").detach())
    assert fast == pytest.approx(plain, rel=5e-3)


def test_it_learns_and_goes_on_from_a_checkpoint_and_needs_no_more_than_was_claimed(
    corpus: Corpus, tmp_path: Path
) -> None:
    claimed = memory_gib(SECTION, VOCAB)
    device = claim_device(claimed, environment={})
    assert device.torch_name.startswith("cuda") and not device.simulated
    torch.cuda.reset_peak_memory_stats()
    model = new_llama(config(), 0)
    before = validation_nll(model, corpus.validation, 128, "cpu")

    def killed(step: object) -> None:
        if getattr(step, "step", 0) == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(model, corpus, schedule_of(SECTION, 0), device.torch_name, tmp_path, killed)
    again = new_llama(config(), 0)
    done = pretrain(again, corpus, schedule_of(SECTION, 0), device.torch_name, tmp_path)
    assert done.resumed_from == 20 and done.finished
    assert validation_nll(again, corpus.validation, 128, device.torch_name) < before / 2
    assert torch.cuda.max_memory_allocated() / 2**30 < claimed


def test_a_card_of_another_pool_and_one_too_small_are_refused() -> None:
    other = {"COGUMI_POOL": "gpu-a100", "COGUMI_GPU": "a card that nobody makes"}
    with pytest.raises(RunError, match="gpu-of-another-kind"):
        claim_device(1, environment=other)
    with pytest.raises(RunError, match="gpu-too-small"):
        claim_device(100_000, environment={})
