"""The comparison: its control can tell a gain by adaptation from one that any text brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cogumi.lm.chat import Encoded
from cogumi.training.algorithms import Algorithm, Episode, Inner
from cogumi.training.compare import compare, in_context_losses, with_support
from cogumi.training.head import OutputHead
from tests.unit.training.test_meta_train import HELD_OUT, INNER, SCHEDULE, fresh, model, train


def test_support_stands_before_the_query_and_carries_no_loss() -> None:
    episode = Episode(
        "t", [Encoded([1, 5, 6], [0, 0, 1]), Encoded([1, 7, 8], [0, 0, 1])], [Encoded([1, 9, 4], [0, 0, 1])]
    )
    (shown,) = with_support(episode)
    assert shown.ids == [1, 5, 6, 7, 8, 9, 4] and shown.mask == [0, 0, 0, 0, 0, 0, 1]
    assert with_support(replace(episode, support=[])) == episode.query


def test_meta_training_beats_plain_training_where_tasks_cannot_be_told_from_the_prompt(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, steps=40, look_every=20)
    sft = train(tmp_path / "sft", schedule, Inner(Algorithm.SFT, 0)).weights
    meta = train(tmp_path / "meta", schedule).weights
    body = model()
    head = OutputHead(body, 4, 8, on_hidden=True)
    table = compare(body, head, {"sft": sft, "meta": meta}, HELD_OUT, INNER, token_budget=400)
    assert table.rows["meta"].concludes and table.rows["meta"].adapted.low > 0
    assert table.rows["meta"].adapted.mean > table.rows["sft"].adapted.mean
    assert table.wins["meta", "sft"].low > 0
    assert table.wins["meta", "sft"].mean == pytest.approx(-table.wins["sft", "meta"].mean)
    assert table.rows["meta"].loss.n == len(HELD_OUT)


def test_where_every_task_is_the_same_it_concludes_nothing() -> None:
    """Support sets that could be exchanged: adaptation may gain, but not because of the task."""
    body = model()
    head = OutputHead(body, 4, 8, on_hidden=True)
    one = HELD_OUT[0]
    same = [Episode(f"t{n}", one.support, one.query) for n in range(8)]
    weights = fresh(body, head, rate=0.5)
    row = compare(body, head, {"fresh": weights}, same, INNER).rows["fresh"]
    assert row.adapted.mean > 0 and not row.concludes


def test_without_support_the_context_changes_nothing_and_with_it_it_does() -> None:
    body = model(torch.float64)
    head = OutputHead(body, 4, 8, on_hidden=True)
    weights = fresh(body, head)
    shown = in_context_losses(body, head, weights, HELD_OUT[:3], INNER)
    grouped = in_context_losses(body, head, weights, HELD_OUT[:3], INNER, token_budget=1)
    assert torch.allclose(shown, grouped, rtol=1e-12)
    swapped = [replace(e, support=HELD_OUT[5].support) for e in HELD_OUT[:3]]
    assert not torch.allclose(shown, in_context_losses(body, head, weights, swapped, INNER), rtol=1e-3)
