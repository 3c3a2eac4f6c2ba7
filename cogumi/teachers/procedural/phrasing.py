"""Phrasing: the untidy ways in which models wrap a JSON list or the tags of an answer. The parser must survive them all."""

from __future__ import annotations

import json
from random import Random
from typing import Any


def phrase_list(rows: list[dict[str, Any]], rng: Random) -> str:
    """A JSON list in one of the forms seen from real models."""
    plain = json.dumps(rows, ensure_ascii=False)
    shape = rng.randrange(7)
    if shape == 0:
        return f"```json\n{json.dumps(rows, indent=2)}\n```"
    if shape == 1:
        return f"Sure! Here they are:\n\n{plain}\n\nLet me know if you need more."
    if shape == 2:
        return plain[:-2] + "},\n]"
    if shape == 3:
        return repr(rows)
    if shape == 4:
        return "\n".join(json.dumps(row) for row in rows)
    if shape == 5:
        half = len(rows) // 2
        return f"{json.dumps(rows[:half])}\nand\n{json.dumps(rows[half:])}"
    return plain[: int(len(plain) * 0.8)]


def phrase_hard_answer(steps: tuple[str, ...], check: str, draft: str, answer: str, rng: Random, untidy: bool) -> str:
    """Draft, critique, revised and answer in the tags of spec section 1.4."""
    work = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    verdict = (
        "The draft holds." if draft == answer else f"The draft's result does not hold: {check}. It must be corrected."
    )
    parts = [
        f"<thinking>\n[DRAFT]\n{work}\nSo: {draft}",
        f"[CRITIQUE]\nTo check: {check}. {verdict}",
        f"[REVISED]\n{work}\nSo: {answer}\n</thinking>",
        f"<answer>\n{answer}\n</answer>",
    ]
    text = "\n\n".join(parts)
    if not untidy:
        return text
    shape = rng.randrange(4)
    if shape == 0:
        return (
            text.replace("<thinking>", "<Thinking>")
            .replace("</thinking>", "</THINKING>")
            .replace("<answer>", "<ANSWER>")
        )
    if shape == 1:
        return text.removesuffix("\n</answer>")
    if shape == 2:
        return (
            text.replace("[DRAFT]", "**[Draft]**")
            .replace("[CRITIQUE]", "[Critique]:")
            .replace("[REVISED]", "[revised]")
        )
    return text.replace("\n</thinking>", "")
