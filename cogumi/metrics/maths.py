"""Mathematical answers: whether two expressions are equal, by math-verify in a process of its own.

with MathsJudge() as judge:
    judge.compare(r"\\frac{1}{2}", "so it is $0.5$")        # Compared(parsed=True, equal=True)

An expression that takes too long, or that ends the process, is not equal and says so; the next gets a fresh process.
"""

from __future__ import annotations

import selectors
import subprocess  # nosec B404 # this program's own worker, fixed arguments
import sys
from dataclasses import dataclass
from types import TracebackType

import orjson

from cogumi.extras import need
from cogumi.metrics.answers import boxed

_PATIENCE_S = 30.0
_MOST_LETTERS = 20_000
"""An answer's end is looked at: there it says what it comes to."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Whether an expression was found in the answer, whether it equals the gold one, and what went wrong."""

    parsed: bool
    equal: bool
    problem: str = ""


class MathsJudge:
    """One worker process, started when it is first asked."""

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        """Raises InputError extra-missing where math-verify is not installed."""
        need("answers of MATH", "math_verify")
        self._patience_s = patience_s
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MathsJudge:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def compare(self, gold: str, answer: str) -> Compared:
        """`gold` is an expression as it stands in \\boxed{}; `answer` is any text: its last boxed expression counts, or
        the last expression where none is boxed.
        """
        inner = boxed(answer)
        text = answer[-_MOST_LETTERS:] if inner is None else f"\\boxed{{{inner}}}"
        told = self._ask(orjson.dumps({"gold": gold, "answer": text}, option=orjson.OPT_APPEND_NEWLINE))
        if told is None:
            self.close()
            return Compared(False, False, "took too long, or ended the process")
        return Compared(told["parsed"], told["equal"])

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def _ask(self, line: bytes) -> dict[str, bool] | None:
        worker = self._worker = self._worker or _started()
        assert worker.stdin is not None and worker.stdout is not None, "both are pipes"
        try:
            worker.stdin.write(line)
            worker.stdin.flush()
        except BrokenPipeError:
            return None
        with selectors.DefaultSelector() as ready:
            ready.register(worker.stdout, selectors.EVENT_READ)
            if not ready.select(self._patience_s):
                return None
        answer = worker.stdout.readline()
        return dict(orjson.loads(answer)) if answer else None


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cogumi.metrics.maths_worker"]
    return subprocess.Popen(  # nosec B603 # fixed command
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
