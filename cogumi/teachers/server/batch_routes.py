"""Both batch APIs over HTTP.

OpenAI:     POST /v1/files   GET /v1/files/ID/content   POST, GET /v1/batches   GET /v1/batches/ID   POST .../cancel
Anthropic:  POST, GET /v1/messages/batches   GET /v1/messages/batches/ID   GET .../results   POST .../cancel
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from cogumi.teachers.server.batch_shop import BatchShop, ShopBatch
from cogumi.teachers.server.replies import error_reply

_OPENAI_STATUS = {
    "working": "in_progress", "done": "completed", "expired": "expired", "cancelled": "cancelled", "refused": "failed",
}  # fmt: skip
_MOST_REQUESTS = {"openai": 50_000, "anthropic": 100_000}
_MOST_BYTES = {"openai": 200_000_000, "anthropic": 256_000_000}


class BatchRoutes:
    """The routes over a shop; `refuse` is the provider's check of the key."""

    def __init__(self, shop: BatchShop, refuse: Any, enqueued_tokens: int | None) -> None:
        self._shop = shop
        self._refuse = refuse
        self._enqueued_tokens = enqueued_tokens

    def add_to(self, app: web.Application) -> None:
        add = app.router.add_route
        add("POST", "/v1/files", self._guarded(self.upload))
        add("GET", "/v1/files/{id}/content", self._guarded(self.content))
        add("POST", "/v1/batches", self._guarded(self.create_openai))
        add("GET", "/v1/batches", self._guarded(self.list_openai))
        add("GET", "/v1/batches/{id}", self._guarded(self.look_openai))
        add("POST", "/v1/batches/{id}/cancel", self._guarded(self.cancel_openai))
        add("POST", "/v1/messages/batches", self._guarded(self.create_anthropic))
        add("GET", "/v1/messages/batches", self._guarded(self.list_anthropic))
        add("GET", "/v1/messages/batches/{id}", self._guarded(self.look_anthropic))
        add("GET", "/v1/messages/batches/{id}/results", self._guarded(self.results_anthropic))
        add("POST", "/v1/messages/batches/{id}/cancel", self._guarded(self.cancel_anthropic))

    # -- OpenAI

    async def upload(self, request: web.Request) -> web.StreamResponse:
        content = b""
        async for part in await request.multipart():
            if getattr(part, "name", "") == "file":
                content = bytes(await part.read())  # type: ignore[union-attr]
        if len(content) > _MOST_BYTES["openai"]:
            return error_reply(413, "the file is larger than 200 MB")
        name = self._shop.keep_file(content)
        listing = {"id": name, "object": "file", "bytes": len(content), "created_at": 0, "filename": "batch.jsonl"}
        return web.json_response({**listing, "purpose": "batch", "status": "processed"})

    async def content(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        batch = self._shop.batches.get(name.removesuffix(".output").removesuffix(".errors"))
        if batch is not None:
            return web.Response(body=self._openai_lines(batch, errors=name.endswith(".errors")))
        content = self._shop.read_file(name)
        return error_reply(404, f"no file {name!r}") if content is None else web.Response(body=content)

    async def create_openai(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        source = self._shop.read_file(asked["input_file_id"])
        if source is None:
            return error_reply(404, "no such input file")
        lines = [line for line in source.split(b"\n") if line.strip()]
        batch = self._shop.open("openai", lines, asked.get("metadata") or {}, asked["input_file_id"], 24 * 3600)
        return self._opened(request, batch, lines, self._say_openai)

    async def list_openai(self, request: web.Request) -> web.StreamResponse:
        found, more = self._page("openai", request.query.get("after", ""), int(request.query.get("limit", 20)))
        return web.json_response({"object": "list", "data": [self._say_openai(b) for b in found], "has_more": more})

    async def look_openai(self, request: web.Request) -> web.StreamResponse:
        return self._looked(request, self._say_openai)

    async def cancel_openai(self, request: web.Request) -> web.StreamResponse:
        return self._cancelled(request, self._say_openai)

    def _say_openai(self, batch: ShopBatch) -> dict[str, Any]:
        counts = batch.counts
        ended = batch.status != "working"
        done, failed = counts.get("succeeded", 0), sum(n for kind, n in counts.items() if kind != "succeeded")
        errors = {"object": "list", "data": [{"code": batch.refusal, "message": batch.refusal}]}
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": batch.source,
            "completion_window": "24h",
            "status": "cancelling" if batch.cancel and not ended else _OPENAI_STATUS[batch.status],
            "errors": errors if batch.refusal else None,
            "created_at": int(batch.created),
            "expires_at": int(batch.expires),
            "output_file_id": f"{batch.id}.output" if ended and done else None,
            "error_file_id": f"{batch.id}.errors" if ended and failed else None,
            "request_counts": {"total": batch.items, "completed": done, "failed": failed},
            "metadata": batch.metadata,
        }

    def _openai_lines(self, batch: ShopBatch, errors: bool) -> bytes:
        lines = []
        for row in self._shop.results(batch):
            if (row["kind"] != "succeeded") != errors:
                continue
            line: dict[str, Any] = {"id": f"batch_req_{row['id']}", "custom_id": row["id"], "error": None}
            if row["kind"] == "succeeded":
                line["response"] = {"status_code": 200, "request_id": "r", "body": row["reply"]}
            elif row["kind"] == "errored":
                body = {"error": {"message": row.get("message", row["code"]), "code": row["code"]}}
                line["response"] = {"status_code": row["status"], "request_id": "r", "body": body}
            else:
                line["response"] = None
                line["error"] = {"code": f"batch_{row['kind']}", "message": f"this request was {row['kind']}"}
            lines.append(orjson.dumps(line))
        return _hurt(batch, lines)

    # -- Anthropic

    async def create_anthropic(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        lines = [orjson.dumps(item) for item in asked["requests"]]
        if any(item["params"].get("max_tokens") == 0 for item in asked["requests"]):
            return error_reply(400, "max_tokens: 0 is refused in a batch")
        batch = self._shop.open("anthropic", lines, {}, "", 24 * 3600)
        return self._opened(request, batch, lines, self._say_anthropic)

    async def list_anthropic(self, request: web.Request) -> web.StreamResponse:
        after = request.query.get("after_id", "")
        found, more = self._page("anthropic", after, int(request.query.get("limit", 20)))
        ends = {"first_id": found[0].id if found else None, "last_id": found[-1].id if found else None}
        return web.json_response({"data": [self._say_anthropic(b) for b in found], "has_more": more, **ends})

    async def look_anthropic(self, request: web.Request) -> web.StreamResponse:
        return self._looked(request, self._say_anthropic)

    async def cancel_anthropic(self, request: web.Request) -> web.StreamResponse:
        return self._cancelled(request, self._say_anthropic)

    async def results_anthropic(self, request: web.Request) -> web.StreamResponse:
        batch = self._shop.batches.get(request.match_info["id"])
        if batch is None or batch.status == "working":
            return error_reply(404, "no results")
        lines = []
        for row in self._shop.results(batch):
            result: dict[str, Any] = {"type": row["kind"]}
            if row["kind"] == "succeeded":
                result["message"] = row["reply"]
            elif row["kind"] == "errored":
                error = {"type": row["code"], "message": row.get("message", row["code"])}
                result["error"] = {"type": "error", "error": error}
            lines.append(orjson.dumps({"custom_id": row["id"], "result": result}))
        return web.Response(body=_hurt(batch, lines), content_type="application/x-jsonl")

    def _say_anthropic(self, batch: ShopBatch) -> dict[str, Any]:
        ended = batch.status != "working"
        kinds = ("succeeded", "errored", "canceled", "expired")
        counts = {kind: batch.counts.get(kind, 0) if ended else 0 for kind in kinds}
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if batch.cancel else "in_progress",
            "request_counts": {**counts, "processing": 0 if ended else batch.items},
            "created_at": _iso(batch.created),
            "expires_at": _iso(batch.expires),
            "ended_at": _iso(batch.ended) if ended else None,
            "cancel_initiated_at": _iso(batch.created) if batch.cancel else None,
            "archived_at": None,
            "results_url": f"/v1/messages/batches/{batch.id}/results" if ended else None,
        }

    # -- both

    def _opened(self, request: web.Request, batch: ShopBatch, lines: list[bytes], say: Any) -> web.StreamResponse:
        """Check and start a batch. OpenAI accepts it and tells what is wrong later; Anthropic refuses at once."""
        problem = self._problem(batch, lines)
        if problem:
            self._shop.refuse(batch, problem)
            return error_reply(400, problem) if batch.dialect == "anthropic" else web.json_response(say(batch))
        self._shop.begin(batch)
        if batch.fault == "lost-submit":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(say(batch))

    def _problem(self, batch: ShopBatch, lines: list[bytes]) -> str:
        if batch.fault == "refuse":
            return "invalid_request"
        if batch.fault == "queue-full":
            return "token_limit_exceeded"
        limit = self._enqueued_tokens
        if limit is not None and self._shop.enqueued() > limit:  # this batch counts already
            return "token_limit_exceeded"
        if len(lines) > _MOST_REQUESTS[batch.dialect]:
            return "too_many_requests_in_batch"
        ids = {orjson.loads(line).get("custom_id") for line in lines}
        return "" if lines and len(ids) == len(lines) and None not in ids else "duplicate_custom_id"

    def _looked(self, request: web.Request, say: Any) -> web.StreamResponse:
        batch = self._shop.batches.get(request.match_info["id"])
        if batch is None:
            return error_reply(404, "no such batch")
        batch.looks += 1
        if batch.fault == "look-503" and batch.looks == 1:
            return error_reply(503, "seeded fault look-503")
        return web.json_response(say(batch))

    def _cancelled(self, request: web.Request, say: Any) -> web.StreamResponse:
        batch = self._shop.batches.get(request.match_info["id"])
        if batch is None:
            return error_reply(404, "no such batch")
        batch.cancel = batch.cancel or batch.status == "working"
        return web.json_response(say(batch))

    def _page(self, dialect: str, after: str, limit: int) -> tuple[list[ShopBatch], bool]:
        """Batches of one dialect, newest first, after a given one."""
        found = sorted((b for b in self._shop.batches.values() if b.dialect == dialect), key=lambda b: -b.created)
        start = next((n + 1 for n, batch in enumerate(found) if batch.id == after), 0)
        return found[start : start + limit], len(found) > start + limit

    def _guarded(self, handler: Any) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            refusal = self._refuse(request)
            if refusal is not None:
                return refusal  # type: ignore[no-any-return]
            try:
                return await handler(request)  # type: ignore[no-any-return]
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                return error_reply(400, f"bad request: {error!r}")

        return guarded


def _hurt(batch: ShopBatch, lines: list[bytes]) -> bytes:
    """The result lines, with one broken or left out where the batch's fault says so."""
    if batch.fault == "broken-line" and lines:
        lines[0] = lines[0][: len(lines[0]) // 2]
    if batch.fault == "missing-line" and lines:
        lines = lines[1:]
    return b"".join(line + b"\n" for line in lines)


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat()
