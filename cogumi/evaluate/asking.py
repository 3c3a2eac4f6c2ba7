"""How a benchmark's rows are asked, and what a model should say: chat turns, one form for each way of scoring.

    question, reference = asked(row)

The reference is what likelihood is taken of: the worked solution where a benchmark has one, else the answer. Code goes
into a fenced block with its prompt, since a chat template trims the spaces that a solution begins with.
"""

from __future__ import annotations

import hashlib
import re

from cogumi.evaluate.row import BenchmarkRow, Scoring

_TAIL = {
    Scoring.NUMBER: "\n\nSolve it step by step. End with a line: #### and the number.",
    Scoring.MATHS: "\n\nSolve it step by step. Put the final answer in \\boxed{}.",
    Scoring.CHOICE: "\n\nAnswer with the letter alone.",
    Scoring.DROP: "\n\nAnswer with a number, a date or words of the passage, nothing else; several with | between.",
}
_CODE = "Complete this function. Answer with all of it in one block of code.\n\n```python\n{prompt}\n```"
_RESPONSE = re.compile(r"<response>(.*?)(?:</response>|$)", re.DOTALL)
_BLOCK = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)(?:```|$)", re.DOTALL)

FORM = hashlib.sha256(repr((sorted(_TAIL.items()), _CODE)).encode()).hexdigest()[:12]
"""Of the words around questions: figures under another one are of other prompts."""


def asked(row: BenchmarkRow) -> tuple[str, str]:
    """(what the user says, what the assistant should)."""
    if row.scoring is Scoring.CODE:
        whole = (row.prompt + row.responses[0]).rstrip()
        return _CODE.format(prompt=row.prompt.rstrip()), f"```python\n{whole}\n```"
    question = row.prompt.rstrip()
    if row.scoring is Scoring.DROP:
        question = question.removesuffix("Answer:").rstrip()
    reference = str(row.more.get("worked") or row.responses[0])
    return question + _TAIL.get(row.scoring, ""), reference


def said(text: str) -> str:
    """The response of an answer with sections (see `lm.chat`), or all of it where it has none.

    Nothing is stripped: code may begin with its indent.
    """
    found = _RESPONSE.findall(text)
    return str(found[-1] if found else text)


def program_of(row: BenchmarkRow, answer: str) -> str:
    """The program that an answer gives: its block of code, or all of it; behind the prompt, unless it defines the
    function itself. Imports and helpers of the prompt count either way.
    """
    blocks = _BLOCK.findall(answer)
    entry = re.compile(rf"^\s*def {re.escape(str(row.more['entry_point']))}\b", re.MULTILINE)
    code = next((block for block in blocks if entry.search(block)), blocks[0] if blocks else answer)
    if not entry.search(code):
        return row.prompt + code
    return row.prompt[: _entry_start(row)] + "\n" + code


def _entry_start(row: BenchmarkRow) -> int:
    """Where the function begins in the prompt."""
    found = re.search(rf"^def {re.escape(str(row.more['entry_point']))}\b", row.prompt, re.MULTILINE)
    return found.start() if found else 0
