"""Learning rates by step."""

from __future__ import annotations

import math

_LOWEST = 0.1


def warmup_cosine(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up, then half a cosine down to a tenth of the peak; `step` counts from 0."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    along = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (_LOWEST + (1 - _LOWEST) * (1 + math.cos(math.pi * along)) / 2)
