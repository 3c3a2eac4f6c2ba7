"""Request, Reply, Usage, Needs: what a teacher is asked and what it answers, whatever the wire format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

import orjson

Finish = Literal["stop", "length", "filtered"]
Cache = Literal["off", "5m", "1h"]


@dataclass(frozen=True, slots=True)
class Request:
    """One chat call: a system and a user text.

    `replica` tells apart calls that ask the same thing on purpose (another sample, next week's run). `cache` asks the
    provider to keep the system text for that long; it changes the price, not the reply, so it is no part of the key.
    """

    model: str
    system: str
    user: str
    max_tokens: int
    temperature: float | None = None
    replica: int = 0
    cache: Cache = "off"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run will ask of a teacher, by estimate."""

    calls: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them.

    `cached` and `cache_written` are parts of `prompt`; `cache_written_1h` is the part of `cache_written` that is kept
    for an hour.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_written: int = 0
    cache_written_1h: int = 0
    cost_usd: float | None = None  # OpenRouter states it; the price table is used elsewhere


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. `notes` are wire codes of what is odd in a usable reply (usage-missing, model-other ...)."""

    text: str
    finish: Finish
    usage: Usage
    model: str
    request_key: str = ""
    notes: tuple[str, ...] = ()
    received_at: float = 0.0  # Unix time at which it was complete; the same after a resume
    reused: bool = False


class Teacher(Protocol):
    """Anything that answers requests. Raises TeacherError, BudgetError, StorageError."""

    model: str
    provider: str

    async def complete(self, request: Request, stage: str) -> Reply: ...


def request_key(provider: str, request: Request) -> str:
    """32 hex digits naming a request by content: hash(provider, model, canonical request, replica)."""
    content = [
        provider,
        request.model,
        request.system,
        request.user,
        request.max_tokens,
        request.temperature,
        request.replica,
    ]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()[:32]
