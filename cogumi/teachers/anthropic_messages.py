"""The Anthropic messages wire format, API version 2026-10-21 (no temperature, top_p or top_k)."""

from __future__ import annotations

from typing import Any

import orjson

from cogumi.teachers.types import Finish, Reply, Request, Usage
from cogumi.teachers.wire_errors import WireError
from cogumi.teachers.wire_json import count, finish_notes, read_object

API_VERSION = "2026-10-21"
_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "filtered",
}


class AnthropicWire:
    """Encodes requests and decodes replies of POST /v1/messages."""

    path = "/v1/messages"
    models_path = "/v1/models?limit=1000"

    def headers(self, key: str) -> dict[str, str]:
        bearer = {"authorization": f"Bearer {key}"} if key else {}
        return {"anthropic-version": API_VERSION, **bearer}

    def encode(self, request: Request) -> bytes:
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_tokens,
            "messages": [{"role": "user", "content": request.user}],
        }
        if request.system:
            block: dict[str, Any] = {"type": "text", "text": request.system}
            if request.cache != "off":
                block["cache_control"] = {"type": "ephemeral", "ttl": request.cache}
            body["system"] = [block]
        return orjson.dumps(body)

    def decode(self, body: bytes, asked_model: str) -> Reply:
        """The reply in a 200's body. Raises WireError reply-*."""
        data = read_object(body)
        blocks, finish = data.get("content"), data.get("stop_reason")
        if not isinstance(blocks, list) or (not blocks and finish != "refusal"):
            raise WireError("reply-no-choices", body=body)
        try:
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
        except (KeyError, TypeError) as error:
            raise WireError("reply-schema", f"content: {error!r}", body=body) from None
        if not text.strip() and finish in ("end_turn", "stop_sequence"):
            raise WireError("reply-empty", body=body)
        usage, notes = _usage(data.get("usage"))
        model = str(data.get("model") or asked_model)
        if model != asked_model and not model.startswith(asked_model):
            notes.append("model-other")
        notes += finish_notes(_FINISH.get(str(finish), "stop"))
        return Reply(text, _FINISH.get(str(finish), "stop"), usage, model, notes=tuple(notes))


def _usage(raw: Any) -> tuple[Usage, list[str]]:
    """Anthropic counts uncached input, cache reads and cache writes apart; `prompt` is their sum."""
    if not isinstance(raw, dict):
        return Usage(), ["usage-missing"]
    fresh, completion = count(raw.get("input_tokens")), count(raw.get("output_tokens"))
    read, written = (
        count(raw.get("cache_read_input_tokens", 0)),
        count(raw.get("cache_creation_input_tokens", 0)),
    )
    if fresh is None or completion is None or read is None or written is None:
        return Usage(), ["usage-invalid"]
    kept = raw.get("cache_creation")
    an_hour = count(kept.get("ephemeral_1h_input_tokens", 0)) if isinstance(kept, dict) else 0
    return Usage(fresh + read + written, completion, read, written, min(an_hour or 0, written)), []
