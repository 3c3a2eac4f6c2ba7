"""Anthropic's Message Batches through its SDK: requests up in one body, results down as JSONL in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import orjson

from cogumi.teachers.anthropic_messages import API_VERSION
from cogumi.teachers.batch_desk import BatchItem, BatchLook, BatchResult
from cogumi.teachers.sdk_errors import translated
from cogumi.teachers.transport import check_url
from cogumi.teachers.wire_errors import WireError

_ITEM_CODES = {"expired": "batch-expired", "canceled": "batch-canceled"}
_REFUSED_ITEMS = {"invalid_request_error": "bad-request", "not_found_error": "model-unknown"}
_PAGE = 100


class AnthropicBatchDesk:
    """Batches of messages. They carry no label, so an orphan is recognised by the ids of its items."""

    def __init__(self, base_url: str, key: str, timeout_s: float, allow_loopback_http: bool = False) -> None:
        root = check_url(base_url, allow_loopback_http)
        client = anthropic.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=False)
        headers = {"anthropic-version": API_VERSION}
        self._client = anthropic.AsyncAnthropic(
            auth_token=key or "none", base_url=root, max_retries=0, timeout=timeout_s, http_client=client,
            default_headers=headers,
        )  # fmt: skip

    def item_bytes(self, item: BatchItem) -> int:
        return len(item.body) + len(item.key) + 32

    async def submit(self, label: str, items: list[BatchItem]) -> str:
        requests: list[Any] = [{"custom_id": item.key, "params": orjson.loads(item.body)} for item in items]
        with translated():
            batch = await self._client.messages.batches.create(requests=requests)
        return batch.id

    async def find(self, label: str, keys: set[str], since: float, taken: set[str]) -> str | None:
        """Looks into the results of batches nobody claims; one still being processed is waited for by the caller."""
        with translated():
            async for batch in self._client.messages.batches.list(limit=_PAGE):
                if batch.created_at.timestamp() < since - 60:
                    return None
                if batch.id in taken:
                    continue
                if batch.processing_status != "ended":
                    raise WireError("conflict", f"{batch.id} may be ours and is still being processed")
                async for result in self.results(batch.id):
                    if result.key in keys:
                        return batch.id
                    break
        return None

    async def look(self, batch_id: str) -> BatchLook:
        with translated():
            batch = await self._client.messages.batches.retrieve(batch_id)
        return BatchLook(batch.processing_status == "ended")

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        with translated():
            response = await self._client.messages.batches.with_raw_response.results(batch_id)
            content = await response.http_response.aread()
        for line in content.splitlines():
            result = _result(line)
            if result is not None:
                yield result

    async def cancel(self, batch_id: str) -> None:
        with translated():
            await self._client.messages.batches.cancel(batch_id)

    async def aclose(self) -> None:
        await self._client.close()


def _result(line: bytes) -> BatchResult | None:
    """One result line; None for one that cannot be read."""
    try:
        row: dict[str, Any] = orjson.loads(line)
        key, result = row["custom_id"], row["result"]
        if result["type"] == "succeeded":
            return BatchResult(key, orjson.dumps(result["message"]))
        if result["type"] in _ITEM_CODES:
            return BatchResult(key, error=WireError(_ITEM_CODES[result["type"]]))
        error = result["error"]["error"]
        code = _REFUSED_ITEMS.get(error["type"], "batch-item-failed")
        return BatchResult(key, error=WireError(code, str(error.get("message", ""))[:200]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
