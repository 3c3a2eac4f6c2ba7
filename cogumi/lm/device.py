"""Device: what a GPU phase may run on, claimed before anything is loaded.

A job knows its pool by its environment (deployments/pools.py): COGUMI_POOL, COGUMI_GPU (parts of the names of the cards
it takes, with commas between), and COGUMI_SIMULATE where the pool was made with --simulate. Outside a pool the best
card is taken, a CPU only if allowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cogumi.errors import RunError


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as CUDA sees it: its index among the visible ones, name, and memory in GiB, all of it and free."""

    index: int
    name: str
    memory_gib: float
    free_gib: float


@dataclass(frozen=True, slots=True)
class Device:
    """What was claimed. `torch_name` is what torch is given; `simulated` runs say so in their receipts."""

    torch_name: str
    name: str
    pool: str
    simulated: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def device_label(told: Mapping[str, Any]) -> str:
    """A device as a receipt holds it, in words."""
    return f"{told['name']}{' (simulated)' if told['simulated'] else ''}"


def cuda_cards() -> list[Card]:
    """The visible GPUs; empty without torch or without CUDA."""
    try:
        import torch  # noqa: PLC0415 - the extra `train`
    except ModuleNotFoundError:
        return []
    if not torch.cuda.is_available():
        return []
    cards = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        cards.append(Card(index, torch.cuda.get_device_name(index), total / 2**30, free / 2**30))
    return cards


def claim_device(
    need_gib: float,
    *,
    count: int = 1,
    allow_cpu: bool = False,
    environment: Mapping[str, str] = os.environ,
    look: Callable[[], list[Card]] = cuda_cards,
) -> Device:
    """The device that a phase of this process may use.

    Args:
        need_gib: memory that must be free before the first weight is loaded, on each card.
        count: how many cards of a kind it works with; the device is the freest of them.
        allow_cpu: outside a GPU pool, whether a CPU will do where there is no card.

    Raises RunError: no-gpu, gpu-of-another-kind, gpu-too-small, gpus-too-few.
    """
    pool, kind = environment.get("COGUMI_POOL", ""), environment.get("COGUMI_GPU", "")
    cards = look()
    fitting = _freest(cards, kind)
    if fitting:
        if len(fitting) < count:
            raise RunError("gpus-too-few", f"{len(fitting)} of {_words(kind) or fitting[0].name}, {count} needed")
        card = fitting[count - 1]
        if card.free_gib < need_gib:
            told = f"{card.name}: {card.free_gib:.1f} of {card.memory_gib:.1f} GiB free, {need_gib:.1f} needed"
            raise RunError("gpu-too-small", told)
        return Device(f"cuda:{fitting[0].index}", card.name, pool, simulated=False)
    if environment.get("COGUMI_SIMULATE") == "1":
        return Device("cpu", "CPU", pool, simulated=True)
    if cards:
        raise RunError(
            "gpu-of-another-kind", f"pool {pool} wants {_words(kind)}; here: {', '.join(c.name for c in cards)}"
        )
    if allow_cpu and not kind:
        return Device("cpu", "CPU", pool, simulated=False)
    raise RunError("no-gpu", f"pool {pool}" if pool else "")


def visible_cards(
    count: int, environment: Mapping[str, str] = os.environ, look: Callable[[], list[Card]] = cuda_cards
) -> list[str]:
    """The `count` freest cards of the pool's kind, as CUDA_VISIBLE_DEVICES names them to a child process."""
    named = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    chosen = _freest(look(), environment.get("COGUMI_GPU", ""))[:count]
    return [named[card.index] if named else str(card.index) for card in chosen]


def _words(kinds: str) -> str:
    return kinds.replace(",", " or ")


def _freest(cards: list[Card], kinds: str) -> list[Card]:
    """Of these kinds, those with the most free memory first."""
    fitting = [card for card in cards if any(kind in card.name for kind in kinds.split(","))]
    return sorted(fitting, key=lambda card: -card.free_gib)
