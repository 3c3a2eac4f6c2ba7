"""Makes cogumi/evaluate/fingerprints.json from the real files: COGUMI_DATA=... python -m tests.golden.make_fingerprints.

Hashes of questions alone: none of their text.
"""

from __future__ import annotations

import os
from pathlib import Path

from cogumi.evaluate import fingerprints
from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.store.files import write_json

PARTS = {
    "drop": {"dev": "drop_v0_dev.jsonl.gz"}, "gsm8k": {"test": "gsm8k_test.jsonl", "train": "gsm8k_train.jsonl"},
    "humaneval": {"test": "HumanEval.jsonl.gz"}, "math": {"test": "math_test_5000.jsonl"}, "mmlu": {"test": "mmlu_test"},
    "mgsm": {language: f"mgsm/mgsm_{language}.tsv" for language in ("de", "en", "es", "fr", "ja", "zh")},
}  # fmt: skip


def main() -> None:
    """Write the file anew."""
    data = Path(os.environ["COGUMI_DATA"])
    found = {
        name: {part: fingerprints.sketch(BENCHMARKS[name].read(data / file)) for part, file in parts.items()}
        for name, parts in PARTS.items()
    }
    write_json(Path(fingerprints.__file__).with_name("fingerprints.json"), found)


if __name__ == "__main__":
    main()
