"""The model card: what is known of a merged model, and what its licence asks for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cogumi.training.card import model_card

FIGURES = {"targets": 15, "untouched": 6, "merge_max_rel_err": 1.2e-8}
TRIED = {"rows": 3, "kl": 2e-5, "argmax": 0.01, "kl_unmerged": 1e-5, "argmax_unmerged": 0.0}
ROW = {"model": "meta", "way": "adapted", "loss": 4.05, "gain": 1.45, "gain_ci95": [0.5, 2.4]}
TRAINED: dict[str, Any] = {
    "stage": "train_models", "seed": 7, "inputs": "716c4166fff8fa8d",
    "metrics": {"dataset": "weekly@v3", "algorithm": "anil", "steps": 20, "episodes": 200, "verdict": "none", "table": [ROW]},
}  # fmt: skip
ADAPTED: dict[str, Any] = {"stage": "adapt", "seed": 0, "inputs": "ab", "metrics": {"examples": 4, "gain_mean": 0.159}}


@pytest.mark.parametrize(
    ("base", "licence", "built_with_llama"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3.1", True),
        ("meta-llama/Llama-3.2-1B", "llama3.2", True),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "apache-2.0", False),
        ("demo/base", "other", False),
    ],
)
def test_front_matter_and_licence(base: str, licence: str, built_with_llama: bool) -> None:
    card = model_card("small", base, TRAINED, FIGURES)
    told = yaml.safe_load(card.split("---")[1])
    assert (told["base_model"], told["license"]) == (base, licence)
    assert ("Built with Llama" in card) is built_with_llama is ('begin with "Llama"' in card)
    assert "{" not in card


def test_it_tells_of_data_table_and_check() -> None:
    card = model_card("small", "demo/base", TRAINED, {**FIGURES, **TRIED})
    for words in ("`weekly@v3`", "`716c4166fff8fa8d`", "| meta, adapted | 4.050 | +1.450 (+0.500 to +2.400) |",
                  "15 tensors are W + s B A", "2e-05 nats", "1.00% of its first choices"):  # fmt: skip
        assert words in card
    assert "held-out rows" not in model_card("small", "demo/base", TRAINED, FIGURES), "what was not tried is not told"


def test_it_tells_of_an_adaptation_and_of_an_adapter_without_a_receipt() -> None:
    assert "4 examples of one task: left out in turn, one gains +0.159" in model_card("a", "b", ADAPTED, FIGURES)
    forced = {**ADAPTED, "metrics": {"examples": 4, "gain_mean": None}}
    assert "no gain was asked for" in model_card("a", "b", forced, FIGURES)
    assert "where it comes from is not known" in model_card("a", "b", None, FIGURES)
