"""Make the golden files: a small fixture tokenizer, and the exact ids and masks of an easy and a hard row.

    python -m tests.golden.make_golden

The tokenizer is trained on questions of the embedded families, seed 0. Run it again only when the template or the mask
is meant to change; the diff then shows what changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from cogumi.domain import DIFFICULTIES
from cogumi.lm.chat import FORMATS, encode_example, response_text
from cogumi.lm.tokenizer import load_tokenizer, train_tokenizer
from cogumi.teachers.procedural import FAMILIES

HERE = Path(__file__).parent
TOKENIZER = HERE / "tokenizer"
MASKS = HERE / "masks.json"
EASY = {"prompt": "What is the purpose of a thermometer?", "response": "A thermometer measures temperature."}
HARD = {
    "prompt": "Write a function that returns the larger of two numbers.",
    "draft": "def larger(a, b):\n    return a if a > b else b",
    "thinking": "Equal numbers return b, which is the same. max says it more plainly.",
    "response": "def larger(a, b):\n    return max(a, b)",
}


def cases() -> dict[str, dict[str, object]]:
    """Every golden case as it comes out now: token texts, ids, mask."""
    tokenizer = load_tokenizer(TOKENIZER)
    found = {}
    for name, form in FORMATS.items():
        for kind, row in (("easy", EASY), ("hard", HARD)):
            text = response_text(row["response"], row.get("draft"), row.get("thinking"), form)
            encoded = encode_example(tokenizer, row["prompt"], text, form)
            found[f"{name}/{kind}"] = {
                "text": tokenizer.decode(encoded.ids),
                "ids": encoded.ids,
                "mask": encoded.mask,
            }
    return found


def main() -> None:
    rng = Random(0)
    texts = [family.generate(rng, d).question for family in FAMILIES for d in DIFFICULTIES for _ in range(20)]
    train_tokenizer(texts, 600).save(TOKENIZER)
    MASKS.write_text(json.dumps(cases(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
