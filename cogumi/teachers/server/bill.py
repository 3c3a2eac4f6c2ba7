"""The provider's bill: what it charges, counted by itself.

It shares no code with the ledger, so that each can check the other.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

# Nano-dollars a token (prompt, completion); play money, kept apart from the client's price table on purpose.
_RATES = {
    "loopback/questioner": (140, 280),
    "loopback/judge": (150, 600),
    "loopback/answerer": (150, 600),
    "loopback/thinker": (2000, 10000),
}
MODELS = tuple(_RATES)


@dataclass(slots=True)
class Bill:
    """Charges, in memory and one line each in a file (time, model, prompt tokens, completion tokens, nano-dollars,
    request hash, what went wrong).
    """

    path: Path | None = None
    calls: int = 0
    nanousd: int = 0
    _file: int = -1

    def __post_init__(self) -> None:
        if self.path is not None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def charge(self, model: str, prompt: int, completion: int, request: bytes, fault: str) -> None:
        """Charge one completion. Called before the reply leaves, so a reply lost on the way is billed."""
        prompt_rate, completion_rate = _RATES[model]
        amount = prompt * prompt_rate + completion * completion_rate
        self.calls += 1
        self.nanousd += amount
        if self._file >= 0:
            name = hashlib.sha256(request).hexdigest()[:24]
            line = f"{time.time():.6f}\t{model}\t{prompt}\t{completion}\t{amount}\t{name}\t{fault or '-'}\n"
            os.write(self._file, line.encode())


def tokens(text: str) -> int:
    """The provider's own way to count: four bytes a token, at least one."""
    return max(1, -(-len(text.encode()) // 4))
