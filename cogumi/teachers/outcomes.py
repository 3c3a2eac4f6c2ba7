"""From what came back to the ledger's row: what was paid, and what may have been."""

from __future__ import annotations

from cogumi.store.ledger import Outcome
from cogumi.teachers.pricing import Price
from cogumi.teachers.types import Reply
from cogumi.teachers.wire_errors import WIRE, WireError


def received(
    key: str, attempt: int, body: bytes, reply: Reply, price: Price, worst: int, now: float, waited: float = 0.0
) -> Outcome:
    """A reply that can be used. Where it does not say what it cost, its worst case stays at risk."""
    unpriced = any(WIRE[note].billable for note in reply.notes)
    return Outcome(
        request_key=key,
        attempt=attempt,
        state="received",
        error_code=reply.notes[0] if reply.notes else "",
        http_status=200,
        reply=body,
        prompt_tokens=reply.usage.prompt,
        cached_tokens=reply.usage.cached,
        cache_written_tokens=reply.usage.cache_written,
        completion_tokens=reply.usage.completion,
        cost_nanousd=0 if unpriced else price.cost(reply.usage),
        at_risk_nanousd=worst if unpriced else 0,
        finished_at=now,
        waited_s=waited,
    )


def failed(key: str, attempt: int, error: WireError, worst: int, now: float, waited: float = 0.0) -> Outcome:
    """An attempt without a usable reply; `unknown`, with its worst case at risk, where the provider may have billed."""
    billable = error.entry.billable
    return Outcome(
        request_key=key,
        attempt=attempt,
        state="unknown" if billable else "failed",
        error_code=error.code,
        http_status=error.status,
        reply=error.body or None,
        at_risk_nanousd=worst if billable else 0,
        finished_at=now,
        waited_s=waited,
    )
