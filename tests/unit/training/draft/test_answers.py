"""What models write and read, against loops of one token and one row at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cogumi.errors import StorageError
from cogumi.lm.chat import Encoded
from cogumi.training.draft import answers, soft_file
from cogumi.training.draft.answers import (
    Writing,
    prompt_of,
    read_softly,
    response_logits,
    response_logits_by_row,
    response_tokens,
    write_answers,
)
from cogumi.training.draft.divergence import soften
from cogumi.training.draft.soft_file import load_soft, save_soft
from tests.unit.training.draft.models import model, prompts, tokenizer


def next_logits(target, ids: list[int]) -> Tensor:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        found: Tensor = target(input_ids=torch.tensor([ids])).logits[0, -1]
    return found


def test_greedy_answers_are_those_of_a_loop_and_end_with_the_turn() -> None:
    target, words = model(seed=3), tokenizer()
    with torch.no_grad():
        target.model.embed_tokens.weight[words.eot] *= 3  # so that some end
    found = write_answers(target, prompts(9), Writing(12, 0.0, 0), words)
    assert {row.ids[-1] == words.eot for row in found} == {True, False}
    for prompt, row in zip(prompts(9), found, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + 12 and ids[-1] != words.eot:
            ids.append(int(next_logits(target, ids).argmax()))
        assert row == Encoded(ids, [0] * len(prompt) + [1] * (len(ids) - len(prompt)))
        assert prompt_of(row) == prompt


def test_sampled_answers_have_the_models_frequencies_and_follow_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    target, words = model(seed=5), tokenizer()
    (prompt,) = prompts(1)
    monkeypatch.setattr(answers, "_ROWS_AT_ONCE", {"cpu": 1000})
    before = torch.get_rng_state()
    found = write_answers(target, [prompt] * 4000, Writing(1, 1.0, 7), words)
    again, other = (write_answers(target, [prompt] * 4000, Writing(1, 1.0, seed), words) for seed in (7, 8))
    assert found == again != other and torch.equal(before, torch.get_rng_state())
    counts = torch.bincount(response_tokens(found), minlength=words.vocab_size)
    expected = 4000 * next_logits(target, prompt).softmax(-1)
    often = expected > 20
    assert often.sum() > 5
    chi2 = float(((counts - expected)[often] ** 2 / expected[often]).sum())
    assert chi2 < float(often.sum()) + 4 * (2 * float(often.sum())) ** 0.5


def test_logits_are_those_of_each_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of any size, padded behind; masks may have holes."""
    target, words = model(layers=2), tokenizer()
    rows = write_answers(target, prompts(11), Writing(9, 1.0, 0), words)
    rows[4].mask[-2] = 0
    monkeypatch.setattr(answers, "_TOKENS_AT_ONCE", 60)
    by_row = dict(response_logits_by_row(target, rows))
    together = response_logits(target, rows).split([sum(row.mask) for row in rows])
    softly = read_softly(target, rows, 5)
    for number, row in enumerate(rows):
        with torch.no_grad():
            alone = target(input_ids=torch.tensor([row.ids])).logits[0, :-1][torch.tensor(row.mask[1:]).bool()]
        for found in (by_row[number], together[number]):
            assert (found - alone).abs().max() <= 1e-5 * alone.abs().max()
        soft = soften(alone, 5)
        assert torch.equal(softly[number].words_NK.long(), soft.words_NK)
        assert (softly[number].log_p_NE - soft.log_p_NE).abs().max() < 0.01
    assert response_tokens(rows).tolist() == [w for row in rows for w, m in zip(row.ids, row.mask, strict=True) if m]


def test_what_was_written_is_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, words = model(), tokenizer()
    rows = write_answers(target, prompts(5), Writing(6, 1.0, 0), words)
    soft = read_softly(target, rows, 4)
    file = tmp_path / "new" / "answers.safetensors"
    assert load_soft(file) is None
    save_soft(file, rows, soft)
    held = load_soft(file)
    assert held is not None and held[0] == rows
    assert all(torch.equal(one.log_p_NE, other.log_p_NE) for one, other in zip(held[1], soft, strict=True))
    content = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soft_file, "save_tensors", full)
    with pytest.raises(StorageError, match="disk-full"):
        save_soft(file, rows, soft)
    assert file.read_bytes() == content and [f.name for f in file.parent.iterdir()] == [file.name]
    file.write_bytes(content[:-7])
    assert load_soft(file) is None
