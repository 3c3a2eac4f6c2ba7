"""The procedural teacher in this process: the OpenAI wire format without a wire."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson

from cogumi.teachers.procedural.mind import Mind
from cogumi.teachers.transport import RawReply


class LocalTransport:
    """Answers the bytes an OpenAI-compatible endpoint would be sent."""

    def __init__(self, mind: Mind) -> None:
        self._mind = mind
        self._asked: Counter[bytes] = Counter()

    async def post(self, path: str, body: bytes) -> RawReply:
        asked: dict[str, Any] = orjson.loads(body)
        texts = {message["role"]: message["content"] for message in asked["messages"]}
        said = self._mind.reply(texts.get("system", ""), texts["user"], self._asked[body])
        self._asked[body] += 1
        most = int(asked["max_tokens"]) * 4
        answer = {
            "model": asked["model"],
            "choices": [
                {
                    "message": {"role": "assistant", "content": said[:most]},
                    "finish_reason": "stop" if len(said) <= most else "length",
                }
            ],
            "usage": {"prompt_tokens": len(body) // 4, "completion_tokens": min(len(said), most) // 4},
        }
        return RawReply(200, {}, orjson.dumps(answer))

    async def aclose(self) -> None:
        return None
