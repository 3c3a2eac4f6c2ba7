"""DROP's exact match and F1 beside its authors' scorer, on every real answer, right, half right and another row's."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.metrics.drop import drop_score
from tests.skipped import miss

pytestmark = pytest.mark.harness
PYTHON = os.environ.get("COGUMI_HARNESS_PYTHON", "")


def _spoiled(spans: list[str], chance: Random) -> list[str]:
    """Words gone, in another order, in other letters; spans put together or taken apart."""
    words = " ".join(spans).split()
    kept = [word for word in words if chance.random() < 0.7] or words[:1]
    chance.shuffle(kept)
    text = " ".join(kept)
    return chance.choice([[text.upper()], [f"The {text}."], kept, [text, *spans[:1]], [text.replace(" ", "-")]])


def test_every_score_is_that_of_its_authors(data: Path, tmp_path: Path) -> None:
    if not PYTHON or not Path(PYTHON).exists():
        miss("lm-evaluation-harness")
    chance = Random(1)
    golds = [row.more["answers"] for row in BENCHMARKS["drop"].read(data / "drop_v0_dev.jsonl.gz")]
    pairs = [(answers[0], answers) for answers in golds]
    pairs += [(_spoiled(chance.choice(answers), chance), answers) for answers in golds]
    pairs += [(chance.choice(chance.choice(golds)), answers) for answers in golds]
    for one, two in pairwise(golds):
        both = [*one[0], *two[0]]
        pairs.append((_spoiled(both, chance), [both, one[0]]))
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    command = [
        PYTHON,
        str(Path(__file__).parent / "run_drop.py"),
        str(tmp_path / "pairs.jsonl"),
        str(tmp_path / "out.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = [tuple(pair) for pair in json.loads((tmp_path / "out.json").read_text())]
    mine = [drop_score(given, answers) for given, answers in pairs]
    apart = [(pair, a, b) for pair, a, b in zip(pairs, mine, theirs, strict=True) if a != pytest.approx(b, abs=1e-9)]
    assert len(pairs) > 35_000 and apart == [], apart[:3]
    assert 0.2 < sum(f1 for _, f1 in mine) / len(mine) < 0.9, "neither all right nor all wrong"
