"""The comparison: its control can tell a gain by adaptation from one that any text brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cogumi.lm.chat import Encoded
from cogumi.training.adapters import verdict
from cogumi.training.algorithms import Algorithm, Episode, Inner
from cogumi.training.compare import Way, compare, in_context_losses, with_support
from cogumi.training.gain import query_losses
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
    assert table.models == ["sft", "meta"]
    assert table.concludes("meta") and table.gain("meta", Way.ADAPTED).low > 0
    assert table.gain("meta", Way.ADAPTED).mean > table.gain("sft", Way.ADAPTED).mean
    over_sft = table.wins(("meta", Way.ADAPTED), ("sft", Way.ADAPTED))
    assert over_sft.low > 0 and over_sft.n == len(HELD_OUT) and over_sft.groups == 6
    assert over_sft.mean == pytest.approx(-table.wins(("sft", Way.ADAPTED), ("meta", Way.ADAPTED)).mean)
    assert table.loss(("meta", Way.IN_CONTEXT)).n == len(HELD_OUT)
    rows = {(row["model"], row["way"]): row for row in table.rows()}
    assert len(rows) == 8 and rows["meta", "adapted"]["gain"] == table.gain("meta", Way.ADAPTED).mean
    assert rows["sft", "as it is"]["gain"] == 0


def test_losses_are_those_of_the_plain_way_one_episode_at_a_time() -> None:
    body = model(torch.float64)
    head = OutputHead(body, 4, 8, on_hidden=True)
    weights = fresh(body, head, rate=0.5)
    some = HELD_OUT[:5]
    table = compare(body, head, {"fresh": weights}, some, INNER, token_budget=100, in_context=[])
    assert ("fresh", Way.IN_CONTEXT) not in table.losses
    for number, episode in enumerate(some):
        other = some[(number + 1) % len(some)]
        before, after = query_losses(body, head, weights, [episode], INNER)[0]
        swapped = query_losses(body, head, weights, [replace(episode, support=other.support)], INNER)[0, 1]
        told = [table.losses["fresh", way][number] for way in (Way.AS_IT_IS, Way.ADAPTED, Way.CONTROL)]
        assert torch.allclose(torch.stack(told), torch.stack([before, after, swapped]), rtol=1e-12)


def test_where_every_task_is_the_same_it_concludes_nothing() -> None:
    """Support sets that could be exchanged: adaptation may gain, but not because of the task."""
    body = model()
    head = OutputHead(body, 4, 8, on_hidden=True)
    one = HELD_OUT[0]
    same = [Episode(f"t{n}", one.support, one.query) for n in range(8)]
    weights = fresh(body, head, rate=0.5)
    table = compare(body, head, {"fresh": weights}, same, INNER)
    assert table.gain("fresh", Way.ADAPTED).mean > 0 and not table.concludes("fresh")


def test_one_task_has_neither_a_control_nor_an_interval() -> None:
    body = model()
    head = OutputHead(body, 4, 8, on_hidden=True)
    alone = [replace(episode, task="the only one") for episode in HELD_OUT[:4]]
    table = compare(body, head, {"meta": fresh(body, head, rate=0.5)}, alone, INNER)
    assert ("meta", Way.CONTROL) not in table.losses and not table.concludes("meta")
    assert table.sample.shortage == "too few tasks (1)" and verdict(table, "meta") == "no conclusion: too few tasks (1)"


def test_without_support_the_context_changes_nothing_and_with_it_it_does() -> None:
    body = model(torch.float64)
    head = OutputHead(body, 4, 8, on_hidden=True)
    weights = fresh(body, head)
    shown = in_context_losses(body, head, weights, HELD_OUT[:3], INNER)
    grouped = in_context_losses(body, head, weights, HELD_OUT[:3], INNER, token_budget=1)
    assert torch.allclose(shown, grouped, rtol=1e-12)
    swapped = [replace(e, support=HELD_OUT[5].support) for e in HELD_OUT[:3]]
    assert not torch.allclose(shown, in_context_losses(body, head, weights, swapped, INNER), rtol=1e-3)
