"""Error replies in the shape both providers use."""

from __future__ import annotations

import orjson
from aiohttp import web


def error_reply(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error object with a status."""
    body = orjson.dumps({"error": {"message": message, "type": "invalid_request_error"}})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
