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


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens of one completion as the provider counts them: prompt tokens by price, then completion tokens."""

    fresh: int
    completion: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def prompt(self) -> int:
        return self.fresh + self.read + self.written_5m + self.written_1h


@dataclass(slots=True)
class Bill:
    """Charges, in memory and one line each in a file (time, model, prompt tokens, completion tokens, nano-dollars,
    request hash, what went wrong or the batch it was part of).
    """

    path: Path | None = None
    calls: int = 0
    nanousd: int = 0
    _file: int = -1

    def __post_init__(self) -> None:
        if self.path is not None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def charge(self, model: str, counted: Counted, request: bytes, remark: str, batched: bool = False) -> None:
        """Charge one completion. Called before the reply leaves, so a reply lost on the way is billed."""
        amount = price(model, counted) // (2 if batched else 1)
        self.calls += 1
        self.nanousd += amount
        if self._file >= 0:
            columns = (f"{time.time():.6f}", model, counted.prompt, counted.completion, amount, named(request))
            line = "\t".join(str(column) for column in columns) + f"\t{remark or '-'}\n"
            os.write(self._file, line.encode())

    def charged_for(self, remark: str) -> set[str]:
        """The request hashes charged under a remark, also by an earlier life of this provider."""
        if self.path is None:
            return set()
        rows = (line.split("\t") for line in self.path.read_text().splitlines())
        return {row[5] for row in rows if len(row) == 7 and row[6] == remark}


def price(model: str, counted: Counted) -> int:
    """Nano-dollars: cache reads cost a tenth, writes 1.25 (5 minutes) or 2 (an hour) of a prompt token."""
    prompt, completion = _RATES[model]
    written = counted.written_5m * prompt * 5 // 4 + counted.written_1h * prompt * 2
    return counted.fresh * prompt + counted.read * prompt // 10 + written + counted.completion * completion


def named(request: bytes) -> str:
    """The name of a request on the bill."""
    return hashlib.sha256(request).hexdigest()[:24]


def tokens(text: str) -> int:
    """The provider's own way to count: four bytes a token, at least one."""
    return max(1, -(-len(text.encode()) // 4))
