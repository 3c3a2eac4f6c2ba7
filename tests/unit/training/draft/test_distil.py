"""A draft's training: it learns, it is measured against what is simpler, and killed anywhere it ends with the same bits."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cogumi.errors import RunError
from cogumi.recipe import DraftSection
from cogumi.training.draft.distil import Made, Material, step_rows, train_draft
from cogumi.training.draft.measure import DISTILLED, GREEDY, SAMPLED, SFT, UNIGRAM, Measuring, Question, Table, measure
from cogumi.training.fitting import Step
from cogumi.training.stopping import Stop
from cogumi.training.writing import Writing, write_answers
from tests.unit.training.draft.models import model, prompts, tokenizer

SECTION = DraftSection(
    rows_per_step=4, learning_rate=0.01, warmup_steps=2, save_every=3, sft_steps=5, prompts=12, max_new_tokens=10, keep=8,
    offline_steps=4, rounds=2, round_steps=4, round_prompts=5, own_text=0.6,
)  # fmt: skip


def teacher_rows() -> list[Any]:
    """Text of somebody else than the target."""
    return write_answers(model(2, seed=9), prompts(16), Writing(10, 1.0, 1), tokenizer())


def trained(place: Path, section: DraftSection = SECTION, **more: Any) -> tuple[Made, dict[str, Tensor]]:
    draft = model(seed=1)
    material = Material(teacher_rows(), prompts(section.prompts), tokenizer())
    made = train_draft(draft, model(2, seed=2), material, section, 3, place, **more)
    return made, {name: w.detach().clone() for name, w in draft.state_dict().items()}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, dict[str, Tensor], list[tuple[str, int]]]:
    steps: list[tuple[str, int]] = []
    made, weights = trained(
        tmp_path_factory.mktemp("straight"), watch=lambda part, step: steps.append((part, step.step))
    )
    return made, weights, steps


def test_the_parts_come_in_their_order_and_the_control_takes_as_many_steps(straight: Any) -> None:
    made, _, steps = straight
    parts = {"sft": 5, "sft-control": 12, "offline": 4, "round-1": 4, "round-2": 4}
    assert steps == [(name, step) for name, count in parts.items() for step in range(1, count + 1)]
    assert {name: done.step for name, done in made.parts.items()} == parts and len(made.answers) == 12
    assert all(done.tokens_per_s > 0 and done.resumed_from == 0 for done in made.parts.values())


class KilledHere(BaseException):
    """What a kill is to the code under test: nothing after it runs."""


@pytest.mark.parametrize("at", [("sft", 4), ("sft-control", 12), ("offline", 2), ("round-1", 4), ("round-2", 1)])
def test_killed_anywhere_it_ends_with_the_same_bits(straight: Any, tmp_path: Path, at: tuple[str, int]) -> None:
    made, weights, _ = straight

    def kill(part: str, step: Step) -> None:
        if (part, step.step) == at:
            raise KilledHere

    with pytest.raises(KilledHere):
        trained(tmp_path, watch=kill)
    again, found = trained(tmp_path)
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert all(torch.equal(again.sft[name], made.sft[name]) for name in made.sft) and again.answers == made.answers


def test_asked_to_stop_it_loses_no_step(straight: Any, tmp_path: Path) -> None:
    _, weights, steps = straight
    stop, told = Stop(), []

    def watch(part: str, step: Step) -> None:
        told.append((part, step.step))
        if (part, step.step) == ("round-1", 2):
            stop.ask()

    with pytest.raises(RunError, match="run-stopped"):
        trained(tmp_path, watch=watch, stop=stop)
    _, found = trained(tmp_path, watch=lambda part, step: told.append((part, step.step)))
    assert told == steps and all(torch.equal(found[name], weights[name]) for name in weights)


def test_parts_without_steps_are_left_out_and_do_not_change_the_rest(straight: Any, tmp_path: Path) -> None:
    made, weights, _ = straight
    none = SECTION.model_copy(update={"sft_control": False})
    other, found = trained(tmp_path / "a", none)
    assert "sft-control" not in other.parts and all(torch.equal(found[name], weights[name]) for name in weights)
    assert any(not torch.equal(other.sft[name], made.sft[name]) for name in weights), "it has had fewer steps"
    bare, found = trained(tmp_path / "b", none.model_copy(update={"offline_steps": 0, "rounds": 0, "sft_steps": 0}))
    assert not bare.parts and all(torch.equal(found[name], w) for name, w in model(seed=1).state_dict().items())


def test_each_row_comes_once_an_epoch() -> None:
    drawn = list(itertools.chain.from_iterable(step_rows(7, 3, 5, step) for step in range(14)))
    epochs = [drawn[at : at + 7] for at in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs) and len(set(map(tuple, epochs))) == 6
    assert step_rows(7, 3, 6, 0) != step_rows(7, 3, 5, 0) and sorted(step_rows(2, 5, 0, 0)) in (
        [0, 0, 0, 1, 1],
        [0, 0, 1, 1, 1],
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A draft with the target's own shape, so that it can come near; teacher text is by another model."""
    section = SECTION.model_copy(update={"prompts": 60, "sft_steps": 40, "offline_steps": 100, "round_steps": 30,
                                         "round_prompts": 30, "keep": 64, "rows_per_step": 8})  # fmt: skip
    target, draft = model(1, seed=2), model(1, seed=1)
    material = Material(teacher_rows(), prompts(60), tokenizer())
    made = train_draft(draft, target, material, section, 0, tmp_path_factory.mktemp("table"))
    last = {name: w.detach().clone() for name, w in draft.state_dict().items()}
    questions = [
        Question(prompt, f"{'ab'[n % 2]}/task-{n % 6}", "ab"[n % 2]) for n, prompt in enumerate(prompts(100)[60:])
    ]
    counts = torch.bincount(
        torch.tensor([w for row in made.answers for w in row.ids]), minlength=tokenizer().vocab_size
    )
    arms = {SFT: made.sft, DISTILLED: last, "target": target.state_dict()}
    return measure(target, draft, arms, questions, counts, Measuring(12, 4, 0), tokenizer())


def test_distilled_it_is_ahead_of_teacher_text_and_of_the_control(table: Table) -> None:
    told = table.figures()
    assert told["concludes"] and all(side["ci95"][0] > 0 for side in told["over_sft"].values())
    assert told["draft_alpha"] > table.mean(UNIGRAM, SAMPLED, lambda found: found.alpha).mean
    assert told["prompts"] == 40 and told["answer_tokens"] == sum(a.tokens for a in table.found[SFT, SAMPLED])


def test_the_target_itself_is_taken_whole(table: Table) -> None:
    """The known-good end of the scale."""
    for decoding in (SAMPLED, GREEDY):
        assert all(a.alpha == pytest.approx(1, abs=1e-5) for a in table.found["target", decoding])
        assert all(a.share == pytest.approx(1, abs=1e-5) for a in table.found["target", decoding])


def test_domains_add_up_to_the_table(table: Table) -> None:
    rows = {(row["draft"], row["decoding"]): row for row in table.rows()}
    domains = table.by_domain()
    assert {row["domain"] for row in domains} == {"a", "b"} and len(rows) == 8
    for name, decoding in rows:
        parts = [row for row in domains if (row["draft"], row["decoding"]) == (name, decoding)]
        assert sum(row["prompts"] for row in parts) == 40
        mean = sum(row["prompts"] * row["length"] for row in parts) / 40
        assert mean == pytest.approx(rows[name, decoding]["length"]), (name, decoding)
