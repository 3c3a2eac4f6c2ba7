"""What calls cost: a dated price table, exact sums in nano-dollars, and the most a call can cost before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import orjson

from cogumi.errors import BudgetError
from cogumi.recipe import TeacherSection
from cogumi.teachers.types import Request, Usage

_MESSAGE_OVERHEAD_TOKENS = 64  # role markers and template of a two-message chat, with room to spare

_WRITE_5M, _WRITE_1H = 1.25, 2.0  # Anthropic's factors on the prompt price


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars a token; `usd_per_mtok * 1000`."""

    prompt: float
    completion: float
    cached: float
    cache_write: float
    cache_write_1h: float

    def batched(self, share: float) -> Price:
        """The price of the same tokens through the batch API; cache discounts stack with it."""
        return Price(*(getattr(self, name) * share for name in self.__dataclass_fields__))

    def cost(self, usage: Usage) -> int:
        """Nano-dollars for a reply; the provider's own figure where it states one."""
        if usage.cost_usd is not None:
            return round(usage.cost_usd * 1e9)
        fresh = usage.prompt - usage.cached - usage.cache_written
        kept_short = usage.cache_written - usage.cache_written_1h
        written = kept_short * self.cache_write + usage.cache_written_1h * self.cache_write_1h
        return round(fresh * self.prompt + usage.cached * self.cached + written + usage.completion * self.completion)

    def worst(self, request: Request) -> int:
        """The most a call can cost: no tokenizer makes more tokens than there are UTF-8 bytes."""
        write = {"off": 0.0, "5m": self.cache_write, "1h": self.cache_write_1h}[request.cache]
        return round(prompt_bytes(request) * max(self.prompt, write) + request.max_tokens * self.completion)


def prompt_bytes(request: Request) -> int:
    """Upper bound on the prompt's tokens."""
    return len(request.system.encode()) + len(request.user.encode()) + _MESSAGE_OVERHEAD_TOKENS


def price_of(teacher: TeacherSection) -> Price:
    """The recipe's own prices where both are given, else the table's. Raises BudgetError price-unknown."""
    if teacher.usd_per_mtok_in is not None and teacher.usd_per_mtok_out is not None:
        given = teacher.usd_per_mtok_in * 1000
        return Price(given, teacher.usd_per_mtok_out * 1000, given, given * _WRITE_5M, given * _WRITE_1H)
    for row in price_table()["models"]:
        if row["provider"] == teacher.label and row["model"] == teacher.model:
            prompt = row["in"] * 1000
            written = row.get("cache_write", row["in"]) * 1000, row.get("cache_write_1h", row["in"]) * 1000
            return Price(prompt, row["out"] * 1000, row["cached_in"] * 1000, *written)
    raise BudgetError("price-unknown", f"{teacher.label} {teacher.model}")


@lru_cache(maxsize=1)
def price_table() -> dict[str, Any]:
    """The table in prices.json: date, unit, and one row a model with its source."""
    return dict(orjson.loads(resources.files("cogumi.teachers").joinpath("prices.json").read_bytes()))


def usd(nanousd: int) -> float:
    return nanousd / 1e9
