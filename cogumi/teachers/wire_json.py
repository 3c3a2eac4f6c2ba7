"""Reading a provider's JSON envelope: fast when it is sound, exact about what is wrong when it is not."""

from __future__ import annotations

import json
from typing import Any

import orjson

from cogumi.teachers.types import Finish
from cogumi.teachers.wire_errors import WireError

_ENVELOPE_KEYS = (b'"choices":', b'"usage":', b'"content":', b'"model":')


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises WireError reply-not-json, reply-garbage, reply-nan, reply-doubled-keys, reply-schema, reply-error-
    object.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WireError(_why_broken(body), str(error), body=body) from None
    if not isinstance(data, dict):
        raise WireError("reply-schema", f"expected an object, found {type(data).__name__}", body=body)
    if any(body.count(key) > 1 for key in _ENVELOPE_KEYS) and _top_keys_doubled(body):
        raise WireError("reply-doubled-keys", body=body)
    if data.get("error"):
        raise WireError("reply-error-object", str(data["error"])[:200], body=body)
    return data


def count(value: Any) -> int | None:
    """A token count, or None where it cannot be one."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40
    return value if good else None


def finish_notes(finish: Finish) -> list[str]:
    """The wire code of a reply that ended early, for the ledger."""
    return {"length": ["reply-truncated"], "filtered": ["reply-filtered"]}.get(finish, [])


def _why_broken(body: bytes) -> str:
    start = body.lstrip()[:1]
    if start not in (b"{", b"["):
        return "reply-not-json"
    found_nan: list[str] = []
    try:
        json.loads(body, parse_constant=lambda name: found_nan.append(name))
    except (ValueError, RecursionError):
        return "reply-garbage"
    return "reply-nan" if found_nan else "reply-garbage"


def _top_keys_doubled(body: bytes) -> bool:
    doubled = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        keys = [key for key, _ in items]
        doubled = doubled or len(keys) != len(set(keys))
        return dict(items)

    json.loads(body, object_pairs_hook=pairs)
    return doubled
