"""Which device a phase gets: the right card with room, else a refusal before anything is loaded."""

from __future__ import annotations

import pytest

from cogumi.errors import RunError
from cogumi.lm.device import Card, claim_device, cuda_cards

H100 = Card(0, "NVIDIA H100 80GB HBM3", 79.1, 78.5)
BUSY = Card(1, "NVIDIA H100 80GB HBM3", 79.1, 12.0)
A100 = Card(2, "NVIDIA A100-SXM4-40GB", 39.4, 39.0)
H200 = Card(3, "NVIDIA H200", 139.8, 139.0)
POOL = {"COGUMI_POOL": "gpu-h100", "COGUMI_GPU": "H100,H200"}


def test_the_card_of_the_pool_with_most_room_is_taken() -> None:
    found = claim_device(40, environment=POOL, look=lambda: [BUSY, A100, H100])
    assert (found.torch_name, found.pool, found.simulated) == ("cuda:0", "gpu-h100", False)
    assert found.to_json()["name"] == H100.name
    assert claim_device(100, environment=POOL, look=lambda: [A100, H200]).name == H200.name


@pytest.mark.parametrize(
    ("cards", "need", "code", "words"),
    [
        ([], 1, "no-gpu", "gpu-h100"),
        ([A100], 1, "gpu-of-another-kind", "wants H100 or H200; here: .*A100"),
        ([BUSY], 40, "gpu-too-small", "12.0 of 79.1 GiB free, 40.0 needed"),
    ],
)
def test_a_worker_that_cannot_do_it_refuses(cards: list[Card], need: float, code: str, words: str) -> None:
    with pytest.raises(RunError, match=rf"{code}[\s\S]*{words}"):
        claim_device(need, environment=POOL, look=lambda: cards, allow_cpu=True)


def test_only_a_simulated_pool_accepts_a_cpu_and_says_so() -> None:
    found = claim_device(40, environment={**POOL, "COGUMI_SIMULATE": "1"}, look=list)
    assert found.simulated and found.torch_name == "cpu" and found.pool == "gpu-h100"
    real = claim_device(40, environment={**POOL, "COGUMI_SIMULATE": "1"}, look=lambda: [H100])
    assert not real.simulated, "where the card is there, nothing is simulated"


def test_outside_a_pool_a_cpu_will_do_where_it_is_allowed() -> None:
    found = claim_device(1, environment={}, look=list, allow_cpu=True)
    assert found.torch_name == "cpu" and not found.simulated
    with pytest.raises(RunError, match="no-gpu"):
        claim_device(1, environment={}, look=list)


def test_the_cards_of_this_machine_can_be_looked_at() -> None:
    for card in cuda_cards():
        assert 0 < card.free_gib <= card.memory_gib
