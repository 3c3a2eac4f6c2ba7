"""The loss in chunks against autograd's way through all logits at once, and what it never holds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from cogumi.training.fitting import hidden_of, logits_of, output_loss
from cogumi.training.output_loss import chunked_loss, cross_entropy_of
from tests.unit.training.draft.models import model

N, D, V = 23, 12, 41


def given(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    hidden, matrix = (torch.randn(count, D, generator=source, dtype=dtype).requires_grad_() for count in (N, V))
    return hidden, matrix, torch.randint(0, V, (N,), generator=source)


@pytest.mark.parametrize("rows", [1, 5, N, N + 100, None])
def test_value_and_gradients_are_those_of_all_logits_at_once(rows: int | None) -> None:
    hidden, matrix, tokens = given()
    plain = functional.cross_entropy(hidden @ matrix.T, tokens)
    found = chunked_loss(hidden, matrix, cross_entropy_of(tokens), rows)
    assert found.dtype == torch.float64 and float(found.detach()) == pytest.approx(float(plain.detach()), rel=1e-12)
    for one, other in zip(*(torch.autograd.grad(3 * loss, (hidden, matrix)) for loss in (found, plain)), strict=True):
        assert (one - other).abs().max() <= 1e-12 * other.abs().max()


def test_logits_that_would_overflow_do_not() -> None:
    hidden, matrix, tokens = given(torch.float32)
    loss = chunked_loss(1e4 * hidden, matrix, cross_entropy_of(tokens), 7)
    plain = functional.cross_entropy(1e4 * hidden @ matrix.T, tokens)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    assert all(part.isfinite().all() for part in torch.autograd.grad(loss, (hidden, matrix)))


def test_only_what_learns_gets_a_gradient_and_without_any_there_is_none() -> None:
    hidden, matrix, tokens = given()
    both = torch.autograd.grad(chunked_loss(hidden, matrix, cross_entropy_of(tokens)), (hidden, matrix))
    for learns, other, expected in ((hidden, matrix.detach(), both[0]), (matrix, hidden.detach(), both[1])):
        pair = (learns, other) if learns is hidden else (other, learns)
        assert torch.equal(torch.autograd.grad(chunked_loss(*pair, cross_entropy_of(tokens)), learns)[0], expected)
    with torch.no_grad():
        assert not chunked_loss(hidden, matrix, cross_entropy_of(tokens)).requires_grad


def test_in_half_precision_the_matrix_gathers_its_gradient_in_full() -> None:
    """256 chunks that each change the sum by less than a bf16 can tell."""
    source = torch.Generator().manual_seed(1)
    hidden = (torch.ones(256, 1) + 0.01 * torch.randn(256, 1, generator=source)).bfloat16()
    matrix = torch.tensor([[0.0], [1.0]], requires_grad=True)
    tokens = torch.zeros(256, dtype=torch.long)
    (found,) = torch.autograd.grad(chunked_loss(hidden, matrix, cross_entropy_of(tokens), 1), matrix)
    (plain,) = torch.autograd.grad(functional.cross_entropy(hidden.float() @ matrix.T, tokens), matrix)
    assert (found - plain).abs().max() <= 4e-3 * plain.abs().max()


def test_no_tensor_of_all_logits_is_ever_made() -> None:
    """By what the allocator is asked for. Autograd's way, the known bad, asks for it several times."""
    hidden, matrix = torch.randn(512, 8, requires_grad=True), torch.randn(4096, 8, requires_grad=True)
    tokens = torch.randint(0, 4096, (512,))
    whole = 4 * 512 * 4096

    def largest(loss_of: object) -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
            loss_of().backward()  # type: ignore[operator]
        events: list[FunctionEvent] = list(watched.events() or [])
        return max(event.self_cpu_memory_usage for event in events)

    assert largest(lambda: functional.cross_entropy(hidden @ matrix.T, tokens)) >= whole
    assert largest(lambda: chunked_loss(hidden, matrix, cross_entropy_of(tokens), 32)) <= whole / 8


def test_a_model_whose_words_are_tied_learns_them_from_both_ends() -> None:
    made = model(layers=2).requires_grad_(True)
    ids = torch.randint(0, made.config.vocab_size, (3, 9), generator=torch.Generator().manual_seed(0))
    parameters = list(made.parameters())
    hidden = hidden_of(made, ids[:, :-1]).flatten(0, 1)
    found = torch.autograd.grad(output_loss(made, hidden, cross_entropy_of(ids[:, 1:].flatten())), parameters)
    logits = logits_of(made, hidden_of(made, ids[:, :-1])).flatten(0, 1)
    plain = torch.autograd.grad(functional.cross_entropy(logits, ids[:, 1:].flatten()), parameters)
    for one, other in zip(found, plain, strict=True):
        assert (one - other).abs().max() <= 1e-5 * (1 + other.abs().max())


def test_a_second_backward_is_refused_where_the_graph_is_kept() -> None:
    hidden, matrix, tokens = given()
    loss = chunked_loss(hidden, matrix, cross_entropy_of(tokens))
    torch.autograd.grad(loss, hidden, retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward"):
        torch.autograd.grad(loss, hidden)
