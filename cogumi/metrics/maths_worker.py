"""The process that compares expressions: one JSON line in, one out. See `maths`.

math-verify sets an alarm of the main thread around what may take for ever, so that it has a process of its own.
"""

from __future__ import annotations

import logging
import os
import sys

import orjson
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

_SECONDS = 5
_BOXED_FIRST = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]


def compare(gold: str, answer: str) -> dict[str, bool]:
    """Whether an expression stands in the answer, and whether it equals the gold one."""
    expected = parse(f"\\boxed{{{gold}}}", _BOXED_FIRST, parsing_timeout=_SECONDS)
    found = parse(answer, _BOXED_FIRST, parsing_timeout=_SECONDS)
    return {
        "parsed": bool(found),
        "equal": bool(expected and found and verify(expected, found, timeout_seconds=_SECONDS)),
    }


def main() -> None:
    """Until the input ends. What the library prints goes to standard error."""
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        asked = orjson.loads(line)
        answers.write(orjson.dumps(compare(asked["gold"], asked["answer"])) + b"\n")


if __name__ == "__main__":
    main()
