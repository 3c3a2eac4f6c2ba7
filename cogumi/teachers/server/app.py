"""The loopback provider's HTTP application: OpenAI chat and models, Anthropic messages, and pages to look behind
the scenes.

POST /v1/chat/completions   POST /v1/messages   GET /v1/models   GET /v1/key   GET /bill   GET /arrivals
and the routes of both batch APIs (batch_routes)
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

from cogumi.teachers.procedural.gym import gold_answers
from cogumi.teachers.procedural.mind import Mind
from cogumi.teachers.server.batch_routes import BatchRoutes
from cogumi.teachers.server.batch_shop import BatchShop
from cogumi.teachers.server.bill import MODELS, Bill, Counted, tokens
from cogumi.teachers.server.buckets import Bucket
from cogumi.teachers.server.dialects import ANTHROPIC, OPENAI, Asked, Dialect, Said
from cogumi.teachers.server.faults import BILLED, RETRYABLE, FaultPlan, meet
from cogumi.teachers.server.prompt_cache import FLOOR_TOKENS, PromptCache
from cogumi.teachers.server.replies import error_reply

_MOST_BODY_BYTES = 300 << 20  # message batches may hold 256 MB


class UnknownModel(LookupError):
    """A model that this provider does not have."""


@dataclass(slots=True)
class Behaviour:
    """How the provider behaves. `canned` answers every call with the same short text, for benchmarks."""

    latency_s: float = 0.0
    fault_share: float = 0.0
    seed: int = 0
    defect_share: float = 0.0
    wrong_share: float = 0.0
    untidy_share: float = 0.0
    first_share: float = 0.0  # of two answers it likes the first better for standing first
    rpm: float | None = None
    tpm: float | None = None
    key: str = ""
    script: list[str] = field(default_factory=list)
    fault_names: list[str] = field(default_factory=list)  # what fault_share draws from; empty means the usual mix
    bill: Path | None = None
    canned: bool = False
    gym: list[tuple[str, int, int]] = field(default_factory=list)  # (domain, seed, rows) of Reasoning Gym it can answer
    cache_works: bool = True
    batch_s: float = 0.2
    batch_fault_share: float = 0.0  # share of batches that meet a fault, and of their items
    batch_script: list[str] = field(default_factory=list)  # faults of the first batches by name
    enqueued_tokens: int | None = None  # prompt tokens in all batches that are not done
    shutdown_dates: dict[str, str] = field(default_factory=dict)  # by model, as the models endpoint tells them
    credit_usd: float | None = None  # what GET /v1/key says is left
    free_daily_requests: int | None = None


class Provider:
    """State behind the routes: mind, bill, buckets, faults and the times at which calls arrived."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.bill = Bill(behaviour.bill)
        self.faults = FaultPlan(behaviour.fault_share, behaviour.seed, tuple(behaviour.fault_names) or RETRYABLE)
        self.faults.script.extend(behaviour.script)
        self.arrivals: list[float] = []
        self.limited: list[tuple[float, float]] = []  # (time, seconds told to wait)
        gym = [pair for domain, seed, rows in behaviour.gym for pair in gold_answers(domain, seed, rows)]
        shares = (behaviour.defect_share, behaviour.wrong_share, behaviour.untidy_share, behaviour.first_share)
        self._mind = Mind(*shares, dict(gym))
        self._cache = PromptCache(behaviour.cache_works)
        self.shop = BatchShop(
            self,
            None if behaviour.bill is None else behaviour.bill.with_suffix(".batches"),
            behaviour.batch_s,
            behaviour.batch_fault_share,
            behaviour.seed,
            behaviour.batch_script,
        )
        self._asked: Counter[bytes] = Counter()
        self._requests = Bucket(behaviour.rpm) if behaviour.rpm else None
        self._tokens = Bucket(behaviour.tpm, burst=behaviour.tpm / 6) if behaviour.tpm else None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MOST_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/messages", self.messages)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/key", self.show_key)
        BatchRoutes(self.shop, self.refuse, self.behaviour.enqueued_tokens).add_to(app)
        app.on_startup.append(self._wake)
        app.router.add_get("/bill", self.show_bill)
        app.router.add_get("/arrivals", self.show_arrivals)
        return app

    async def _wake(self, _: web.Application) -> None:
        self.shop.wake()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, OPENAI)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, ANTHROPIC)

    async def models(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self.refuse(request)) is not None:
            return refusal
        ends = self.behaviour.shutdown_dates
        listing = [{"id": name, "object": "model", "shutdown_date": ends.get(name)} for name in MODELS]
        return web.json_response({"object": "list", "data": listing})

    async def show_key(self, request: web.Request) -> web.StreamResponse:
        """What OpenRouter tells about a key: credit left and free requests a day."""
        if (refusal := self.refuse(request)) is not None:
            return refusal
        daily, credit = self.behaviour.free_daily_requests, self.behaviour.credit_usd
        free = {"limit": daily, "used": 0, "remaining": daily} if daily is not None else None
        used = self.bill.nanousd / 1e9
        left = None if credit is None else credit - used
        return web.json_response({"data": {"usage": used, "limit_remaining": left, "free_model_daily_requests": free}})

    async def show_bill(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"calls": self.bill.calls, "nanousd": self.bill.nanousd})

    async def show_arrivals(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"arrivals": self.arrivals, "limited": self.limited})

    async def _serve(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        self.arrivals.append(monotonic())
        body = await request.read()
        refusal = self.refuse(request)
        if refusal is not None:
            return refusal
        try:
            asked = self.understand(dialect, orjson.loads(body))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            return error_reply(400, f"bad request: {error!r}")
        except LookupError as error:
            return error_reply(404, str(error))
        limited = self._over_limit(asked)
        if limited is not None:
            return limited
        fault = self.faults.next(body)
        prefix_held = self._cache.holds(asked.model, asked.system)
        if self.behaviour.latency_s:
            await asyncio.sleep(self.behaviour.latency_s * _spread(body, self.behaviour.canned))
        said = self.answer(asked, body, prefix_held)
        if fault == "" or fault in BILLED:
            self.bill.charge(asked.model, said.counted, body, fault)
        reply = dialect.say(asked.model, said)
        if fault:
            return await meet(fault, request, reply)
        return web.Response(body=orjson.dumps(reply), content_type="application/json", headers=self._limit_headers())

    def understand(self, dialect: Dialect, body: dict[str, Any]) -> Asked:
        """The request in a body. Raises KeyError, TypeError, ValueError; UnknownModel for a model there is not."""
        asked = dialect.read(body)
        if asked.model not in MODELS:
            raise UnknownModel(f"no model {asked.model!r}")
        return asked

    def answer(self, asked: Asked, body: bytes, prefix_held: bool) -> Said:
        """What the mind says, cut to max_tokens and counted; a prefix that is to be kept is kept from now on."""
        text = "ok" if self.behaviour.canned else self._say(asked, body)
        cut = tokens(text) > asked.max_tokens
        text = text[: asked.max_tokens * 4 - 3] if cut else text
        whole = tokens(asked.system + asked.user)
        prefix = tokens(asked.system) if asked.ttl else 0
        if prefix < FLOOR_TOKENS:
            return Said(text, cut, Counted(whole, tokens(text)))
        self._cache.keep(asked.model, asked.system, asked.ttl)
        parts = {"read" if prefix_held else f"written_{asked.ttl}": prefix}
        return Said(text, cut, Counted(whole - prefix, tokens(text), **parts))

    def answer_batched(self, asked: Asked, body: bytes) -> Said:
        """One item of a batch."""
        return self.answer(asked, body, self._cache.holds(asked.model, asked.system))

    def _say(self, asked: Asked, body: bytes) -> str:
        """What the mind says; a body asked again gets another sample."""
        identity = hashlib.blake2b(body, digest_size=8).digest()
        self._asked[identity] += 1
        return self._mind.reply(asked.system, asked.user, self._asked[identity] - 1)

    def refuse(self, request: web.Request) -> web.Response | None:
        key = self.behaviour.key
        if not key:
            return None
        given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        return None if given == key else error_reply(401, f"invalid key {given}")

    def _over_limit(self, asked: Asked) -> web.Response | None:
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
        return error_reply(429, "rate limit reached", headers)

    def _limit_headers(self) -> dict[str, str]:
        headers = {}
        if self._requests:
            headers["x-ratelimit-limit-requests"] = f"{self._requests.per_minute:g}"
            headers["x-ratelimit-remaining-requests"] = str(max(1, self._requests.left))
        if self._tokens:
            headers["x-ratelimit-limit-tokens"] = f"{self._tokens.per_minute:g}"
        return headers


def _spread(body: bytes, canned: bool) -> float:
    """Latencies from half to one and a half of the mean, by request; fixed for benchmarks."""
    return 1.0 if canned else 0.5 + Random(hashlib.sha256(body).digest()).random()
