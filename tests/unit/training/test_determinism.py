"""The switch for one kernel, and the look-up that needs it: without a card its shapes and sums, on one its bits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cogumi.training.determinism import deterministic, embedded
from tests.unit.training.models import switches


@pytest.mark.parametrize("before", ["default", "warn", "error"])
def test_the_switch_is_on_inside_and_as_it_was_afterwards(before: str) -> None:
    torch.set_deterministic_debug_mode(before)
    try:
        was = switches()
        with deterministic():
            assert switches() == (2, False)
        assert switches() == was
        with pytest.raises(ValueError, match="in the middle"), deterministic():
            raise ValueError("in the middle")
        assert switches() == was
    finally:
        torch.set_deterministic_debug_mode("default")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_look_up_is_torchs(dtype: torch.dtype) -> None:
    """Words that come again and again, and words that do not come."""
    chance = torch.Generator().manual_seed(0)
    weight = torch.randn(50, 8, generator=chance).to(dtype).requires_grad_()
    ids = torch.randint(0, 20, (4, 30), generator=chance)
    back = torch.randn(4, 30, 8, generator=chance).to(dtype)
    found, expected = embedded(ids, weight), functional.embedding(ids, weight)
    assert torch.equal(found, expected)
    (one,), (other,) = (torch.autograd.grad(rows, weight, back) for rows in (found, expected))
    assert torch.equal(one, other) and one[:20].any() and not one[20:].any()
