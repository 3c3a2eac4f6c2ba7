"""The loopback provider's HTTP application: OpenAI chat and models, Anthropic messages, and pages to look behind
the scenes.

POST /v1/chat/completions   POST /v1/messages   GET /v1/models   GET /bill   GET /arrivals
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import orjson
from aiohttp import web

from cogumi.teachers.procedural.mind import Mind
from cogumi.teachers.server.bill import MODELS, Bill, tokens
from cogumi.teachers.server.buckets import Bucket
from cogumi.teachers.server.faults import BILLED, RETRYABLE, FaultPlan, meet

_MOST_BODY_BYTES = 4 << 20


@dataclass(slots=True)
class Behaviour:
    """How the provider behaves. `canned` answers every call with the same short text, for benchmarks."""

    latency_s: float = 0.0
    fault_share: float = 0.0
    seed: int = 0
    defect_share: float = 0.0
    wrong_share: float = 0.0
    untidy_share: float = 0.0
    rpm: float | None = None
    tpm: float | None = None
    key: str = ""
    script: list[str] = field(default_factory=list)
    fault_names: list[str] = field(default_factory=list)  # what fault_share draws from; empty means the usual mix
    bill: Path | None = None
    canned: bool = False


class Provider:
    """State behind the routes: mind, bill, buckets, faults and the times at which calls arrived."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.bill = Bill(behaviour.bill)
        self.faults = FaultPlan(behaviour.fault_share, behaviour.seed, tuple(behaviour.fault_names) or RETRYABLE)
        self.faults.script.extend(behaviour.script)
        self.arrivals: list[float] = []
        self.limited: list[tuple[float, float]] = []  # (time, seconds told to wait)
        self._mind = Mind(behaviour.defect_share, behaviour.wrong_share, behaviour.untidy_share)
        self._asked: Counter[bytes] = Counter()
        self._requests = Bucket(behaviour.rpm) if behaviour.rpm else None
        self._tokens = Bucket(behaviour.tpm, burst=behaviour.tpm / 6) if behaviour.tpm else None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MOST_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/messages", self.messages)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/bill", self.show_bill)
        app.router.add_get("/arrivals", self.show_arrivals)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, _read_openai, _say_openai)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, _read_anthropic, _say_anthropic)

    async def models(self, request: web.Request) -> web.StreamResponse:
        listing = [{"id": name, "object": "model", "shutdown_date": None} for name in MODELS]
        return web.json_response({"object": "list", "data": listing})

    async def show_bill(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"calls": self.bill.calls, "nanousd": self.bill.nanousd})

    async def show_arrivals(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"arrivals": self.arrivals, "limited": self.limited})

    async def _serve(self, request: web.Request, read: Any, say: Any) -> web.StreamResponse:
        self.arrivals.append(monotonic())
        body = await request.read()
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        try:
            asked = read(orjson.loads(body))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            return _error(400, f"bad request: {error!r}")
        if asked.model not in MODELS:
            return _error(404, f"no model {asked.model!r}")
        limited = self._over_limit(asked)
        if limited is not None:
            return limited
        fault = self.faults.next(body)
        if self.behaviour.latency_s:
            await asyncio.sleep(self.behaviour.latency_s * _spread(body, self.behaviour.canned))
        said = "ok" if self.behaviour.canned else self._say(asked, body)
        answer = _Answer.of(asked, said)
        if fault == "" or fault in BILLED:
            self.bill.charge(asked.model, answer.prompt, answer.completion, body, fault)
        reply = say(asked.model, answer)
        if fault:
            return await meet(fault, request, reply)
        return web.Response(body=orjson.dumps(reply), content_type="application/json", headers=self._limit_headers())

    def _say(self, asked: _Asked, body: bytes) -> str:
        """What the mind says; a body asked again gets another sample."""
        identity = hashlib.blake2b(body, digest_size=8).digest()
        self._asked[identity] += 1
        return self._mind.reply(asked.system, asked.user, self._asked[identity] - 1)

    def _refuse(self, request: web.Request) -> web.Response | None:
        key = self.behaviour.key
        if not key:
            return None
        given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        return None if given == key else _error(401, f"invalid key {given}")

    def _over_limit(self, asked: _Asked) -> web.Response | None:
        wait = self._requests.take(1) if self._requests else 0.0
        if wait == 0.0 and self._tokens:
            wait = self._tokens.take(tokens(asked.system + asked.user) + min(asked.max_tokens, 300))
        if wait == 0.0:
            return None
        self.limited.append((monotonic(), wait))
        headers = {
            **self._limit_headers(),
            "x-ratelimit-remaining-requests": "0",
            "retry-after": f"{wait:.3f}",
        }
        return _error(429, "rate limit reached", headers)

    def _limit_headers(self) -> dict[str, str]:
        headers = {}
        if self._requests:
            headers["x-ratelimit-limit-requests"] = f"{self._requests.per_minute:g}"
            headers["x-ratelimit-remaining-requests"] = str(max(1, self._requests.left))
        if self._tokens:
            headers["x-ratelimit-limit-tokens"] = f"{self._tokens.per_minute:g}"
        return headers


@dataclass(frozen=True, slots=True)
class _Asked:
    model: str
    system: str
    user: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    prompt: int
    completion: int
    cut: bool

    @staticmethod
    def of(asked: _Asked, said: str) -> _Answer:
        cut = tokens(said) > asked.max_tokens
        text = said[: asked.max_tokens * 4 - 3] if cut else said
        return _Answer(text, tokens(asked.system + asked.user), tokens(text), cut)


def _read_openai(body: dict[str, Any]) -> _Asked:
    if not 0 <= body.get("temperature", 0) <= 2:
        raise ValueError("temperature")
    texts = {message["role"]: str(message["content"]) for message in body["messages"]}
    most = body.get("max_completion_tokens") or body.get("max_tokens") or 4096
    return _Asked(body["model"], texts.get("system", ""), texts["user"], int(most))


def _read_anthropic(body: dict[str, Any]) -> _Asked:
    for gone in ("temperature", "top_p", "top_k"):
        if gone in body:
            raise ValueError(f"{gone}: not accepted by API version 2026-10-21")
    system = body.get("system", "")
    if isinstance(system, list):
        system = "".join(block["text"] for block in system)
    content = body["messages"][-1]["content"]
    if isinstance(content, list):
        content = "".join(block["text"] for block in content)
    return _Asked(body["model"], system, content, int(body["max_tokens"]))


def _say_openai(model: str, answer: _Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if answer.cut else "stop"}],
        "usage": {
            "prompt_tokens": answer.prompt,
            "completion_tokens": answer.completion,
            "total_tokens": answer.prompt + answer.completion,
        },
    }


def _say_anthropic(model: str, answer: _Answer) -> dict[str, Any]:
    return {
        "id": "msg_loopback",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": answer.text}],
        "stop_reason": "max_tokens" if answer.cut else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": answer.prompt, "output_tokens": answer.completion},
    }


def _spread(body: bytes, canned: bool) -> float:
    """Latencies from half to one and a half of the mean, by request; fixed for benchmarks."""
    return 1.0 if canned else 0.5 + Random(hashlib.sha256(body).digest()).random()


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"error": {"message": message, "type": "invalid_request_error"}})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
