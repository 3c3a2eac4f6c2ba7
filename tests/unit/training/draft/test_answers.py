"""What models think of texts, against one row at a time, and the file that keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cogumi.errors import StorageError
from cogumi.training.draft import answers, soft_file
from cogumi.training.draft.answers import read_softly, response_hidden, response_logits_by_row, response_tokens
from cogumi.training.draft.divergence import soften
from cogumi.training.draft.soft_file import load_soft, save_soft
from cogumi.training.fitting import logits_of
from cogumi.training.writing import Writing, write_answers
from tests.unit.training.draft.models import model, prompts, tokenizer


def test_logits_are_those_of_each_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of any size, padded behind; masks may have holes."""
    target, words = model(layers=2), tokenizer()
    rows = write_answers(target, prompts(11), Writing(9, 1.0, 0), words)
    rows[4].mask[-2] = 0
    monkeypatch.setattr(answers, "_TOKENS_AT_ONCE", 60)
    by_row = dict(response_logits_by_row(target, rows))
    together = logits_of(target, response_hidden(target, rows)).split([sum(row.mask) for row in rows])
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
