"""The two wire formats as the provider reads and speaks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cogumi.teachers.server.bill import Counted


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, whatever its format; `ttl` is "" where no prefix is to be kept."""

    model: str
    system: str
    user: str
    max_tokens: int
    ttl: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer and what it counts."""

    text: str
    cut: bool
    counted: Counted


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one format is read and spoken. `read` raises ValueError, KeyError or TypeError on a malformed request."""

    read: Callable[[dict[str, Any]], Asked]
    say: Callable[[str, Said], dict[str, Any]]


def _read_openai(body: dict[str, Any]) -> Asked:
    if not 0 <= body.get("temperature", 0) <= 2:
        raise ValueError("temperature")
    texts = {message["role"]: str(message["content"]) for message in body["messages"]}
    most = body.get("max_completion_tokens") or body.get("max_tokens") or 4096
    return Asked(body["model"], texts.get("system", ""), texts["user"], int(most))


def _read_anthropic(body: dict[str, Any]) -> Asked:
    for gone in ("temperature", "top_p", "top_k"):
        if gone in body:
            raise ValueError(f"{gone}: not accepted by API version 2026-10-21")
    system, ttl = body.get("system", ""), ""
    if isinstance(system, list):
        marked = [block["cache_control"] for block in system if "cache_control" in block]
        ttl = marked[-1].get("ttl", "5m") if marked else ""
        if ttl not in ("", "5m", "1h"):
            raise ValueError(f"cache_control.ttl: {ttl!r}")
        system = "".join(block["text"] for block in system)
    content = body["messages"][-1]["content"]
    if isinstance(content, list):
        content = "".join(block["text"] for block in content)
    return Asked(body["model"], system, content, int(body["max_tokens"]), ttl)


def _say_openai(model: str, said: Said) -> dict[str, Any]:
    message = {"role": "assistant", "content": said.text}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if said.cut else "stop"}],
        "usage": {
            "prompt_tokens": said.counted.prompt,
            "completion_tokens": said.counted.completion,
            "total_tokens": said.counted.prompt + said.counted.completion,
        },
    }


def _say_anthropic(model: str, said: Said) -> dict[str, Any]:
    counted = said.counted
    written = counted.written_5m + counted.written_1h
    usage: dict[str, Any] = {"input_tokens": counted.fresh, "output_tokens": counted.completion}
    if written or counted.read:
        usage |= {
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": counted.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": counted.written_5m,
                "ephemeral_1h_input_tokens": counted.written_1h,
            },
        }
    return {
        "id": "msg_loopback",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": said.text}],
        "stop_reason": "max_tokens" if said.cut else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


OPENAI = Dialect(_read_openai, _say_openai)
ANTHROPIC = Dialect(_read_anthropic, _say_anthropic)
