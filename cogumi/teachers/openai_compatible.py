"""The OpenAI chat-completions wire format, as OpenAI, OpenRouter and vLLM speak it."""

from __future__ import annotations

from typing import Any

import orjson

from cogumi.teachers.types import Finish, Reply, Request, Usage
from cogumi.teachers.wire_errors import WireError
from cogumi.teachers.wire_json import count, finish_notes, read_object

_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "filtered"}


class OpenAIWire:
    """Encodes requests and decodes replies. Retries of the SDK are out of the picture: this is the wire itself."""

    path = "/chat/completions"
    models_path = "/models"

    def __init__(self, newer_names: bool = False) -> None:
        self._limit_name = "max_completion_tokens" if newer_names else "max_tokens"

    def headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"} if key else {}

    def encode(self, request: Request) -> bytes:
        messages = [{"role": "user", "content": request.user}]
        if request.system:
            messages.insert(0, {"role": "system", "content": request.system})
        body: dict[str, Any] = {
            "model": request.model,
            "messages": messages,
            self._limit_name: request.max_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        return orjson.dumps(body)

    def decode(self, body: bytes, asked_model: str) -> Reply:
        """The reply in a 200's body. Raises WireError reply-*."""
        data = read_object(body)
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            raise WireError("reply-no-choices", body=body)
        try:
            text, finish = choices[0]["message"]["content"], choices[0].get("finish_reason")
        except (KeyError, TypeError, AttributeError) as error:
            raise WireError("reply-schema", f"choices[0]: {error!r}", body=body) from None
        if finish == "content_filter":
            text = text or ""
        if not isinstance(text, str):
            raise WireError("reply-empty" if text is None else "reply-schema", body=body)
        if not text.strip() and finish == "stop":
            raise WireError("reply-empty", body=body)
        usage, notes = _usage(data.get("usage"))
        model = str(data.get("model") or asked_model)
        if model != asked_model and not model.startswith(asked_model):
            notes.append("model-other")
        notes += finish_notes(_FINISH.get(str(finish), "stop"))
        return Reply(text, _FINISH.get(str(finish), "stop"), usage, model, notes=tuple(notes))


def _usage(raw: Any) -> tuple[Usage, list[str]]:
    if not isinstance(raw, dict):
        return Usage(), ["usage-missing"]
    prompt, completion = count(raw.get("prompt_tokens")), count(raw.get("completion_tokens"))
    if prompt is None or completion is None:
        return Usage(), ["usage-invalid"]
    details = raw.get("prompt_tokens_details") or {}
    cached = min(count(details.get("cached_tokens", 0)) or 0, prompt) if isinstance(details, dict) else 0
    cost = raw.get("cost")
    return Usage(
        prompt, completion, cached, 0, 0, float(cost) if isinstance(cost, int | float) and cost >= 0 else None
    ), []
