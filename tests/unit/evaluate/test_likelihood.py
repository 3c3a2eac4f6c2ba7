"""Likelihood of responses: packed, padded and one by one, and against what is wrong with scoring padding and prompts."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from random import Random

import pytest
import torch
from torch.nn import functional

from cogumi.evaluate.candidates import Opened, open_candidate
from cogumi.evaluate.likelihood import Packed, read_options, read_packed, read_padded
from cogumi.evaluate.perplexity import Likelihood, total
from cogumi.evaluate.request import Candidate
from cogumi.lm.chat import Encoded
from cogumi.lm.model import load_llama
from cogumi.lm.tokenizer import read_tokenizer
from cogumi.training.adapter import save_adapter
from cogumi.training.algorithms import Algorithm, Inner
from cogumi.training.body import LlamaBody
from cogumi.training.lora import LoraShape
from tests.skipped import miss
from tests.unit.training.models import VOCABULARY, adapter, llama

TINY_LLAMA = Path(os.environ.get("COGUMI_DATA", "nowhere")).parent / "models" / "tiny-llama-231k"


def rows_of(count: int, vocabulary: int = VOCABULARY, longest: int = 40) -> list[Encoded]:
    chance = Random(3)
    found = []
    for _ in range(count):
        prompt, answer = chance.randint(1, longest), chance.randint(1, longest)
        ids = [chance.randrange(vocabulary) for _ in range(prompt + answer)]
        found.append(Encoded(ids, [0] * prompt + [1] * answer))
    return found


def one_by_one(model: torch.nn.Module, rows: list[Encoded]) -> list[Likelihood]:
    """The oracle: each row by itself, log-softmax at each of its response tokens, in a loop."""
    found = []
    for row in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.ids])).logits[0].double()
        log_p = logits.log_softmax(-1)
        parts = [-float(log_p[at - 1, row.ids[at]]) for at in range(1, len(row.ids)) if row.mask[at]]
        found.append(Likelihood(math.fsum(parts), len(parts)))
    return found


def same(one: list[Likelihood], other: list[Likelihood], within: float = 1e-5) -> bool:
    return all(
        a.tokens == b.tokens and abs(a.nats - b.nats) <= within * b.nats for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("budget", [1, 200, 100_000])
def test_packs_of_any_size_and_batches_of_any_size_say_what_a_loop_says(budget: int) -> None:
    model, rows = llama(torch.float32, layers=2), rows_of(24)
    expected = one_by_one(model, rows)
    assert same(read_packed(Packed(LlamaBody(model, LoraShape(1, 1))), rows, budget), expected)
    for batch in (1, 8):
        assert same(read_padded(model, rows, batch), expected)


def test_a_batch_of_eight_is_a_batch_of_one() -> None:
    model, rows = llama(torch.float32, layers=2), rows_of(32)
    one, eight = read_padded(model, rows, 1), read_padded(model, rows, 8)
    alone = read_packed(Packed(LlamaBody(model, LoraShape(1, 1))), rows, 1)
    assert same(one, eight) and same(alone, eight)


@pytest.mark.parametrize("kind", ["lm_head_lora", "final_hidden", "last_layers"])
def test_base_and_adapter_unmerged_are_read_packed_as_their_model_says(tmp_path: Path, kind: str) -> None:
    from tests.unit.evaluate.models import chat_model

    base = chat_model(tmp_path / "base")
    body, head, weights = adapter(base, kind)
    save_adapter(tmp_path / "adapter", body, head, weights, Inner(Algorithm.ANIL, 3, 1.0), "run/base")
    with open_candidate(Candidate("trained", str(base), str(tmp_path / "adapter")), "cpu") as opened:
        rows = rows_of(12, int(opened.model.config.vocab_size))
        assert same(opened.read(rows), one_by_one(opened.model, rows))
        trained = opened.read(rows)
    with open_candidate(Candidate("base", str(base)), "cpu") as opened:
        assert not same(opened.read(rows), trained), "the adapter changes something"


@pytest.mark.parametrize("budget", [1, 100_000])
def test_options_read_together_are_those_read_one_by_one(tmp_path: Path, budget: int) -> None:
    from tests.unit.evaluate.models import chat_model

    chance = Random(4)
    prompts = [[chance.randrange(VOCABULARY) for _ in range(chance.randint(1, 30))] for _ in range(9)]
    options = [[chance.randrange(VOCABULARY) for _ in range(4)] for _ in prompts]
    with open_candidate(Candidate("m", str(chat_model(tmp_path / "m"))), "cpu") as opened:
        assert opened.packed is not None
        together = read_options(opened.packed, prompts, options, budget)
        rows = [Encoded([*p, w], [0] * len(p) + [1]) for p, each in zip(prompts, options, strict=True) for w in each]
        alone = [each.nats for each in one_by_one(opened.model, rows)]
        longer = opened.choose(prompts, [[[w], [w, w]] for w, *_ in options])
    assert [nats for each in together for nats in each] == pytest.approx(alone, rel=1e-5)
    assert [each[0] for each in longer] == pytest.approx([each[0] for each in together], rel=1e-5)
    assert all(two > one for one, two in longer)


def test_every_token_counts_alike_not_every_row() -> None:
    found = total([(10.0, 1, 4), (1.0, 9, 36)])
    assert found is not None
    assert found.nll == pytest.approx(1.1) and found.ppl == pytest.approx(math.exp(1.1)) and found.tokens == 10
    assert found.nll != pytest.approx((10 / 1 + 1 / 9) / 2), "the mean of row means is another figure"
    assert found.bits_per_byte == pytest.approx(11 / math.log(2) / 40)
    assert total([]) is None


def test_bits_a_byte_do_not_depend_on_how_a_text_is_cut() -> None:
    """Two tokenizers of one text: twice as many tokens of half the nats each."""
    coarse, fine = total([(12.0, 4, 16)]), total([(12.0, 8, 16)])
    assert coarse is not None and fine is not None
    assert coarse.bits_per_byte == fine.bits_per_byte and coarse.ppl != fine.ppl


def test_a_trained_llama_on_real_rows_and_the_figure_of_who_scores_padding(data: Path) -> None:
    """tiny-llama-231k on instructions: the figure of response tokens; of all tokens; and the original's, which scored
    padding and prompts. Only the first says anything of answers.
    """
    if not TINY_LLAMA.is_dir():
        miss("COGUMI_DATA")
    model, tokenizer = load_llama(str(TINY_LLAMA), torch.float32, "cpu"), read_tokenizer(TINY_LLAMA)
    told = json.loads((data / "rasbt_instruction_data_1100.json").read_text())
    rows = []
    for row in told:
        asked, said = f"{row['instruction']} {row['input']}", row["output"]
        prompt, answer = (tokenizer.encode(text, add_special_tokens=False).ids for text in (asked, said))
        if answer and len(prompt) + len(answer) <= 126:
            rows.append(Encoded([1, *prompt, *answer], [0] * (len(prompt) + 1) + [1] * len(answer)))
    rows = rows[:200]
    assert len(rows) == 200
    found = read_packed(Packed(LlamaBody(model, LoraShape(1, 1))), rows)
    assert same(found, one_by_one(model, rows))
    response = total((each.nats, each.tokens, 1) for each in found)
    assert response is not None
    padded_prompts = _as_the_original_did(model, rows)
    assert response.nll == pytest.approx(5.4068, abs=2e-3) and padded_prompts == pytest.approx(6.3914, abs=2e-3)


def _as_the_original_did(model: torch.nn.Module, rows: list[Encoded]) -> float:
    """Padding is the end of text and is scored, as prompts are; the mean of means of batches."""
    means = []
    for start in range(0, len(rows), 8):
        batch = rows[start : start + 8]
        longest = max(len(row.ids) for row in batch)
        ids = torch.tensor([row.ids + [2] * (longest - len(row.ids)) for row in batch])
        with torch.no_grad():
            logits = model(input_ids=ids).logits
        means.append(float(functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())))
    return sum(means) / len(means)


def test_a_llama_with_biases_is_read_by_transformers(tmp_path: Path) -> None:
    from tests.unit.evaluate.models import chat_model

    folder = chat_model(tmp_path, attention_bias=True)
    with open_candidate(Candidate("draft", str(folder)), "cpu") as opened:
        assert isinstance(opened, Opened) and opened.packed is None
        rows = rows_of(5, int(opened.model.config.vocab_size))
        assert same(opened.read(rows), one_by_one(opened.model, rows))
