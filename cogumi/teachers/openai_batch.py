"""OpenAI's Batch API: a JSONL file up, a batch made of it, an output and an error file down. Through the openai SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import orjson

from cogumi.teachers.batch_desk import BatchItem, BatchLook, BatchResult
from cogumi.teachers.sdk_errors import translated
from cogumi.teachers.transport import check_url
from cogumi.teachers.wire_errors import WireError, status_code

_ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_LABEL = "cogumi_batch"
_ENDED = ("completed", "expired", "cancelled", "failed")
_ITEM_CODES = {
    "batch_expired": "batch-expired",
    "batch_canceled": "batch-canceled",
    "batch_cancelled": "batch-canceled",
}
_PAGE = 100


class OpenAIBatchDesk:
    """Batches of chat completions."""

    def __init__(self, base_url: str, key: str, timeout_s: float, allow_loopback_http: bool = False) -> None:
        root = check_url(base_url, allow_loopback_http)
        client = openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=False)
        self._client = openai.AsyncOpenAI(
            api_key=key or "none", base_url=root, max_retries=0, timeout=timeout_s, http_client=client
        )

    def item_bytes(self, item: BatchItem) -> int:
        return len(_line(item)) + 1

    async def submit(self, label: str, items: list[BatchItem]) -> str:
        content = b"\n".join(_line(item) for item in items)
        with translated():
            file = await self._client.files.create(file=(f"{label}.jsonl", content), purpose="batch")
            batch = await self._client.batches.create(
                input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_LABEL: label}
            )
        return batch.id

    async def find(self, label: str, keys: set[str], since: float, taken: set[str]) -> str | None:
        with translated():
            async for batch in self._client.batches.list(limit=_PAGE):
                if (batch.metadata or {}).get(_LABEL) == label and batch.id not in taken:
                    return batch.id
                if batch.created_at < since - 60:
                    return None
        return None

    async def look(self, batch_id: str) -> BatchLook:
        with translated():
            batch = await self._client.batches.retrieve(batch_id)
        told = batch.errors.data if batch.status == "failed" and batch.errors else None
        refusal = (
            (told[0].code or told[0].message or "failed") if told else "failed" if batch.status == "failed" else ""
        )
        return BatchLook(batch.status in _ENDED, refusal)

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        with translated():
            batch = await self._client.batches.retrieve(batch_id)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is None:
                continue
            with translated():
                content = (await self._client.files.content(file_id)).content
            for line in content.splitlines():
                result = _result(line)
                if result is not None:
                    yield result

    async def cancel(self, batch_id: str) -> None:
        with translated():
            await self._client.batches.cancel(batch_id)

    async def aclose(self) -> None:
        await self._client.close()


def _line(item: BatchItem) -> bytes:
    head = orjson.dumps({"custom_id": item.key, "method": "POST", "url": _ENDPOINT})
    return head[:-1] + b',"body":' + item.body + b"}"


def _result(line: bytes) -> BatchResult | None:
    """One line of an output or error file; None for one that cannot be read."""
    try:
        row: dict[str, Any] = orjson.loads(line)
        key, response, error = row["custom_id"], row.get("response"), row.get("error")
        if response is not None and response["status_code"] == 200:
            return BatchResult(key, orjson.dumps(response["body"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    if isinstance(error, dict) and error.get("code") in _ITEM_CODES:
        return BatchResult(key, error=WireError(_ITEM_CODES[error["code"]]))
    if not isinstance(response, dict):
        return BatchResult(key, error=WireError("batch-item-failed", str(error)[:200]))
    body = orjson.dumps(response.get("body"))
    status = int(response["status_code"])
    code = status_code(status, body, has_wait=False)
    again = status >= 500 or status in (408, 409, 429)
    return BatchResult(key, error=WireError("batch-item-failed" if again else code, body.decode()[:200], status))
