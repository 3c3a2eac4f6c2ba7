"""Seeded faults of the loopback provider. Each is named after what it does on the wire.

A fault decides whether the completion was billed before things went wrong: see BILLED.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random
from time import time
from typing import Any

from aiohttp import web

_STATUS = {
    "400": 400, "401": 401, "402": 402, "403": 403, "404": 404, "408": 408, "409": 409, "413": 413, "422": 422,
    "429": 429, "500": 500, "502": 502, "503": 503, "504": 504, "529": 529, "billed-500": 500, "418": 418,
}  # fmt: skip
BILLED = frozenset(
    [
        "billed-500",
        "lost-reply",
        "reset-mid-body",
        "cut-short",
        "slow-body",
        "endless",
        "gzip-bomb",
        "bad-gzip",
        "html",
        "garbage",
        "nan",
        "doubled-keys",
        "wrong-schema",
        "no-choices",
        "error-object",
        "empty",
        "not-http",
        "usage-missing",
        "usage-negative",
        "model-other",
        "filtered",
        "truncated",
        "hang",
    ]
)
RETRYABLE = tuple(
    [
        "429",
        "429-wait",
        "500",
        "502",
        "503",
        "504",
        "529",
        "408",
        "reset-before",
        "lost-reply",
        "reset-mid-body",
        "cut-short",
        "html",
        "garbage",
        "nan",
        "no-choices",
        "empty",
        "billed-500",
        "bad-gzip",
        "usage-missing",
    ]
)
"""The mix behind `fault_share`: what a run must get over by itself."""


@dataclass(slots=True)
class FaultPlan:
    """Which fault a request meets: the next of `script`, else a seeded draw by request and how often it was seen."""

    share: float = 0.0
    seed: int = 0
    names: tuple[str, ...] = RETRYABLE
    script: deque[str] = field(default_factory=deque)
    _seen: Counter[bytes] = field(default_factory=Counter)

    def next(self, body: bytes) -> str:
        """The fault's name, or "" for none."""
        if self.script:
            name = self.script.popleft()
            return "" if name == "ok" else name
        if self.share <= 0:
            return ""
        identity = hashlib.sha256(body).digest()
        self._seen[identity] += 1
        rng = Random(f"{self.seed}/{identity.hex()}/{self._seen[identity]}")
        return rng.choice(self.names) if rng.random() < self.share else ""


async def meet(name: str, request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    """Answer a request with a fault; `reply` is what would have been sent."""
    if name in _STATUS:
        return _status(_STATUS[name])
    if name in _BODIES:
        return _json(_BODIES[name](reply))
    return await _WIRE[name](request, reply)


def known_faults() -> tuple[str, ...]:
    return (*_STATUS, *_BODIES, *_WIRE)


def _status(code: int, headers: dict[str, str] | None = None, kind: str = "fault") -> web.Response:
    body = json.dumps({"error": {"message": f"seeded fault {code}", "type": kind, "code": kind}})
    return web.Response(status=code, text=body, headers=headers, content_type="application/json")


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


# -- bodies that are complete and wrong


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _with(reply: dict[str, Any], **changes: Any) -> bytes:
    return _dump({**reply, **changes})


def _bad_usage(reply: dict[str, Any]) -> bytes:
    return _with(reply, usage={name: -5 for name in reply["usage"]})


def _finish(reply: dict[str, Any], openai: str, anthropic: str) -> bytes:
    if "choices" in reply:
        return _with(reply, choices=[{**reply["choices"][0], "finish_reason": openai}])
    return _with(reply, stop_reason=anthropic)


def _empty(reply: dict[str, Any]) -> bytes:
    if "choices" in reply:
        return _with(reply, choices=[{"message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}])
    return _with(reply, content=[{"type": "text", "text": " "}])


def _no_choices(reply: dict[str, Any]) -> bytes:
    return _with(reply, **{"choices" if "choices" in reply else "content": []})


def _wrong_schema(reply: dict[str, Any]) -> bytes:
    return _with(reply, **({"choices": [{"text": 3}]} if "choices" in reply else {"content": [{"kind": "text"}]}))


_BODIES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "garbage": lambda reply: b'{"choices": [}{' + bytes(range(1, 60)),
    "nan": lambda reply: _dump(reply)[:-1] + b', "score": NaN}',
    "doubled-keys": lambda reply: _dump(reply)[:-1] + b', "usage": {"prompt_tokens": 0}}',
    "wrong-schema": _wrong_schema,
    "no-choices": _no_choices,
    "error-object": lambda reply: _dump({"error": {"message": "upstream said no"}}),
    "empty": _empty,
    "usage-missing": lambda reply: _dump({key: value for key, value in reply.items() if key != "usage"}),
    "usage-negative": _bad_usage,
    "model-other": lambda reply: _with(reply, model="someone-else/model"),
    "filtered": lambda reply: _finish(reply, "content_filter", "refusal"),
    "truncated": lambda reply: _finish(reply, "length", "max_tokens"),
}


# -- the wire itself


async def _wait_seconds(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    return _status(429, {"Retry-After": "1"})


async def _wait_date(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    return _status(429, {"Retry-After": formatdate(time() + 1, usegmt=True)})


async def _quota(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    return _status(429, kind="insufficient_quota")


async def _redirect(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "http://127.0.0.2:9/elsewhere"})


async def _html(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text="<html><body>Welcome to the proxy</body></html>", content_type="text/html")


async def _drop(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError


async def _reset_mid_body(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    body = _dump(reply)
    _raw(
        request,
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body[: len(body) // 2],
    )
    await asyncio.sleep(0.02)
    return await _drop(request, reply)


async def _cut_short(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    body = _dump(reply)
    _raw(
        request,
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body) + 50}\r\n\r\n".encode()
        + body,
    )
    return _close(request)


async def _not_http(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    _raw(request, b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    return _close(request)


async def _bad_gzip(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    _raw(
        request,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n"
        + b"\x00not gzip at all"
        + b"x" * 24,
    )
    return _close(request)


async def _gzip_bomb(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    body = gzip.compress(b" " * (256 << 20), 1)
    return web.Response(body=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def _slow_body(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    body = _dump(reply)
    response = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
    await response.prepare(request)
    for byte in body:
        await response.write(bytes([byte]))
        await asyncio.sleep(1)
    return response


async def _endless(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(4096):
            await response.write(b" " * 65536)
    return response


async def _hang(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise asyncio.CancelledError


def _raw(request: web.Request, data: bytes) -> None:
    if request.transport is not None:
        request.transport.write(data)


def _close(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    raise asyncio.CancelledError


_WIRE: dict[str, Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]] = {
    "429-wait": _wait_seconds,
    "429-date": _wait_date,
    "quota": _quota,
    "redirect": _redirect,
    "html": _html,
    "reset-before": _drop,
    "lost-reply": _drop,
    "reset-mid-body": _reset_mid_body,
    "cut-short": _cut_short,
    "not-http": _not_http,
    "bad-gzip": _bad_gzip,
    "gzip-bomb": _gzip_bomb,
    "slow-body": _slow_body,
    "endless": _endless,
    "hang": _hang,
}
