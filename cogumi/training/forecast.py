"""What training will take: hours and dollars from measured tokens a second, before a card is held.

    speeds = known_speeds(Path("runs"))
    expected = forecast("anil", parameters=8.03e9, tokens=48_000_000, card="H100", speeds=speeds, usd_per_hour=2.0)

Measured are runs of this machine, by their receipts, and the stored results of the benchmarks on an H100. The nearest
in size of the same kind of work is taken, on the same card, and scaled by size: a larger model takes as much longer; a
smaller one gains four times at the most, since small steps are bound by their launches. It needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cogumi.store.artifacts import find_artifacts

H100, CPU = "H100", "CPU"
_MOST_GAIN = 4.0
_EFFICIENCY = 0.89
"""Of each card where several share the tasks out: 1.79 times one with two (benchmarks/results/team-2026-11-26.json)."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of a kind of work on a model of so many parameters."""

    kind: str
    parameters: float
    tokens_per_s: float
    card: str
    source: str


_8B, _1B, _26M, _25M, _2M = 8.03e9, 1.236e9, 25.7e6, 24.5e6, 2.52e6
_META, _ADAPTER, _BASE, _DRAFT, _LARGE_DRAFT = (
    f"benchmarks/results/{name}.json"
    for name in ("meta-2026-11-26", "adapter-gpu-2026-11-26", "gpu-base-2026-11-25", "draft-gpu-2026-11-26",
                 "draft-8b-2026-11-26")
)  # fmt: skip
MEASURED = (
    Speed("anil1", _8B, 18_052, H100, _META),
    Speed("anil", _8B, 13_122, H100, _META),
    Speed("fomaml", _8B, 2_089, H100, _META),
    Speed("sft", _8B, 12_833, H100, _META),
    Speed("anil", _26M, 35_206, H100, _ADAPTER),
    Speed("base", _25M, 445_161, H100, _BASE),
    Speed("draft-sft", _1B, 7_238, H100, _LARGE_DRAFT),
    Speed("draft-distil", _1B, 13_324, H100, _LARGE_DRAFT),
    Speed("draft-sft", _2M, 224_127, H100, _DRAFT),
    Speed("draft-distil", _2M, 88_182, H100, _DRAFT),
    Speed("write", _8B, 1_718, H100, _LARGE_DRAFT),
)
"""On one H100; a test holds them against the stored results."""
_SAME_KIND = {"anil_cross": "anil", "reptile": "fomaml"}


@dataclass(frozen=True, slots=True)
class Forecast:
    """Hours by the clock and of cards, dollars where the card has a price, and what it is known by."""

    hours: float
    gpu_hours: float
    usd: float | None
    tokens_per_s: float
    basis: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def known_speeds(root: Path) -> list[Speed]:
    """Of this machine's own runs, below the folder that holds them."""
    found: list[Speed] = []
    for place, receipt in find_artifacts(root) if root.is_dir() else []:
        told, name = receipt["metrics"], f"{place.parent.name}/{place.name}"
        if "device" not in told or told["device"].get("simulated"):
            continue
        card = str(told["device"]["name"])
        for kind, parameters, rate in _rates(receipt["stage"], told):
            if parameters and rate:
                found.append(Speed(kind, float(parameters), float(rate), card, name))
    return found


def _rates(stage: str, told: dict[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    if stage == "pretrain_base":
        yield "base", told.get("parameters"), told.get("tokens_per_s")
    elif stage == "train_models":
        share = _share(told.get("processes", 1))  # of all cards together
        for kind, rate in ((str(told.get("algorithm")), "tokens_per_s"), ("sft", "sft_tokens_per_s")):
            yield kind, told.get("base_parameters"), (told.get(rate) or 0.0) / share
    elif stage in ("train_draft", "train_draft_sft"):
        for part, kind in (("sft", "draft-sft"), ("offline", "draft-distil")):
            if part == "sft" and "imitation" in told:
                continue  # learned on another card, whose own receipt tells of it
            yield kind, told.get("parameters"), told.get("parts", {}).get(part, {}).get("tokens_per_s")
        for text in told.get("written", {}).values():
            yield "write", told.get("target_parameters"), text["tokens"] / max(text["seconds"], 1e-9)


def forecast(
    kind: str,
    parameters: float,
    tokens: float,
    card: str,
    speeds: Sequence[Speed] = (),
    usd_per_hour: float = 0.0,
    processes: int = 1,
) -> Forecast | None:
    """What so many tokens take; None where nothing of the kind was measured on such a card.

    Args:
        kind: an algorithm's name, "base", "draft-sft", "draft-distil" or "write".
        parameters: of the model that works.
        card: part of the card's name, such as H100, or CPU.
    """
    kind = _SAME_KIND.get(kind, kind)
    own = [speed for speed in speeds if speed.kind == kind and card in speed.card]
    near = [speed for speed in own if abs(math.log(speed.parameters / parameters)) <= math.log(2)]
    known = near or own + [speed for speed in MEASURED if speed.kind == kind and card in speed.card]
    if not known:
        return None
    nearest = min(known, key=lambda speed: abs(math.log(speed.parameters / parameters)))
    rate = nearest.tokens_per_s * min(nearest.parameters / parameters, _MOST_GAIN)
    share = _share(processes)
    hours = tokens / rate / share / 3600
    basis = f"{nearest.tokens_per_s:,.0f} tokens/s of {nearest.parameters / 1e6:,.4g}M parameters, {nearest.source}"
    usd = hours * processes * usd_per_hour if usd_per_hour else None
    return Forecast(hours, hours * processes, usd, rate * share, basis)


def _share(processes: int) -> float:
    """How many times one card's work so many do in a time."""
    return processes * (_EFFICIENCY if processes > 1 else 1.0)


def together(parts: Iterable[Forecast | None]) -> Forecast | None:
    """Of parts one after the other; None where one is not known."""
    found = list(parts)
    known = [part for part in found if part is not None]
    if not known or len(known) < len(found):
        return None
    usd = None if any(part.usd is None for part in known) else sum(part.usd or 0.0 for part in known)
    basis = "; ".join(dict.fromkeys(part.basis for part in known))
    hours, gpu_hours = (sum(getattr(part, name) for part in known) for name in ("hours", "gpu_hours"))
    return Forecast(hours, gpu_hours, usd, known[0].tokens_per_s, basis)
