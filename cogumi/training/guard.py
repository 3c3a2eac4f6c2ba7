"""Guard: tells a run that has been damaged from one that meets hard examples.

A training loss that jumps says little: longer and harder examples do that too. So every few steps the guard scores a
probe: fixed episodes of the training tasks, after adaptation. Weights are damaged where the probe is worse than at its
best by a share and beyond chance, episode by episode (a paired test). The loop then goes back to the newest checkpoint
whose probe was good, and on with other batches. In between a probe is doubtful: a reason neither to go back, nor to go
back to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

_DAMAGED = (0.03, 4.0)  # share of the best loss, and deviations of the paired difference: chance once in 30,000 probes
_DOUBTFUL = (0.01, 1.0)


class Verdict(StrEnum):
    """Of a probe."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    DAMAGED = "damaged"


@dataclass(slots=True)
class Guard:
    """What it remembers is small and goes into checkpoints."""

    best: list[float] = field(default_factory=list)
    """The best probe: the loss of each episode after adaptation."""
    discarded: int = 0
    """Steps whose loss or gradient was not finite and that were not taken."""
    in_a_row: int = 0
    rewinds: int = 0

    def takes(self, loss: float, norm: float) -> bool:
        """Whether a step may be taken; one with a loss or gradient that is not finite may not."""
        good = math.isfinite(loss) and math.isfinite(norm)
        self.in_a_row = 0 if good else self.in_a_row + 1
        self.discarded += not good
        return good

    def judge(self, losses_E: Tensor) -> Verdict:
        """Whether this probe is worse than the best, beyond chance and by more than matters; a better one is
        remembered.
        """
        if not bool(losses_E.isfinite().all()):
            return Verdict.DAMAGED
        if not self.best:
            self.best = losses_E.tolist()
            return Verdict.GOOD
        best = torch.tensor(self.best, dtype=losses_E.dtype)
        worse = losses_E - best
        deviation = float(worse.std()) / math.sqrt(len(worse)) if len(worse) > 1 else 0.0
        by = float(worse.mean())
        if by < 0:
            self.best = losses_E.tolist()
        for verdict, (share, deviations) in ((Verdict.DAMAGED, _DAMAGED), (Verdict.DOUBTFUL, _DOUBTFUL)):
            if by > max(share * float(best.mean()), deviations * deviation):
                return verdict
        return Verdict.GOOD

    @property
    def best_loss(self) -> float:
        """The mean of the best probe."""
        return sum(self.best) / max(1, len(self.best))

    def to_json(self) -> dict[str, Any]:
        return {"best": self.best, "discarded": self.discarded, "in_a_row": self.in_a_row, "rewinds": self.rewinds}
