"""The same rows and the same model in lm-evaluation-harness, in an environment of its own: it comes to what we come to.

`make harness` makes that environment and runs this.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.evaluate.candidates import open_candidate
from cogumi.evaluate.harness import export
from cogumi.evaluate.judging import Judge
from cogumi.evaluate.request import Candidate
from cogumi.evaluate.row import BenchmarkRow
from cogumi.evaluate.sample import stratified
from cogumi.evaluate.scores import Scores, figures
from cogumi.evaluate.scoring import score
from cogumi.lm.model import load_chat_tokenizer
from cogumi.recipe import ValidationSection
from tests.skipped import miss
from tests.unit.evaluate.models import chat_model

pytestmark = pytest.mark.harness
PYTHON = os.environ.get("COGUMI_HARNESS_PYTHON", "")
ROWS = {"mmlu": ("mmlu_test", 120), "gsm8k": ("gsm8k_test.jsonl", 12), "math": ("math_test_5000.jsonl", 40)}


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scores, dict[str, Any], Path]:
    """Our scores, theirs, and the model."""
    if not PYTHON or not Path(PYTHON).exists():
        miss("lm-evaluation-harness")
    place = tmp_path_factory.mktemp("harness")
    rows: list[BenchmarkRow] = []
    for name, (file, count) in ROWS.items():
        rows += stratified(list(BENCHMARKS[name].read(data / file)), count)
    model = chat_model(place / "model")
    assert export(rows, place / "tasks") == ["cogumi_gsm8k", "cogumi_math", "cogumi_mmlu"]
    child = Path(__file__).parent / "run_harness.py"
    command = [PYTHON, str(child), str(model), str(place / "tasks"), str(place / "out.json")]
    quiet = {"HF_HUB_OFFLINE": "1", "HOME": str(place), "PATH": os.environ["PATH"], "HF_HOME": str(place / "hf")}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    with open_candidate(Candidate("model", str(model)), "cpu") as opened, Judge(None) as judge:
        mine = score(opened, "model", rows, ValidationSection(max_new_tokens=512), judge).scores
    return mine, json.loads((place / "out.json").read_text()), model


def test_choices_by_log_likelihood_are_right_on_the_same_rows(compared: tuple[Scores, dict[str, Any], Path]) -> None:
    mine, theirs, _ = compared
    choices = [row for row in mine.rows if row.source == "mmlu"]
    right = {row["key"]: bool(row["acc"]) for row in theirs["rows"]["cogumi_mmlu"]}
    assert len(choices) == 120
    assert {row.key: row.right for row in choices} == right
    assert figures(choices)["accuracy"] == pytest.approx(theirs["results"]["cogumi_mmlu"]["acc,none"])
    assert 0 < sum(right.values()) < 120, "a model that is always right or never would prove nothing"


def test_references_have_the_same_log_likelihood(compared: tuple[Scores, dict[str, Any], Path]) -> None:
    """The harness counts the line breaks before the answer to it, since it moves spaces there: one token more, whose
    log-probability does not depend on the reference.
    """
    mine, theirs, model = compared
    logprobs = {row["key"]: row["logprobs"][0] for row in theirs["rows"]["cogumi_math"]}
    breaks = _line_breaks(model, [row.key for row in mine.rows if row.source == "math"])
    for row in mine.rows:
        if row.source == "math":
            assert row.nats is not None
            assert -logprobs[row.key] == pytest.approx(row.nats + breaks[row.key], rel=1e-4)


def test_numbers_are_read_alike(compared: tuple[Scores, dict[str, Any], Path]) -> None:
    mine, theirs, _ = compared
    right = {row["key"]: bool(row["exact_match"]) for row in theirs["rows"]["cogumi_gsm8k"]}
    finished = {row.key: row.right for row in mine.rows if row.source == "gsm8k" and row.outcome != "truncated"}
    assert {key: right[key] for key in finished} == finished


def _line_breaks(model: Path, keys: list[str]) -> dict[str, float]:
    """Nats of the line breaks behind the assistant's header, by row: read by ourselves, a row at a time."""
    import torch

    from cogumi.evaluate.asking import asked
    from cogumi.lm.chat import encode_examples
    from cogumi.lm.model import load_llama
    from cogumi.training.draft.answers import prompt_of

    data = Path(os.environ["COGUMI_DATA"])
    rows = {row.key: row for row in BENCHMARKS["math"].read(data / ROWS["math"][0])}
    loaded = load_llama(str(model), torch.float32, "cpu")
    tokenizer = load_chat_tokenizer(model, int(loaded.config.vocab_size))
    count = len(tokenizer.encode("\n\n"))
    found = {}
    for key in keys:
        (encoded,) = encode_examples(tokenizer, [asked(rows[key])])
        ids = prompt_of(encoded)
        with torch.no_grad():
            log_p = loaded(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        found[key] = -sum(float(log_p[at - 1, ids[at]]) for at in range(len(ids) - count, len(ids)))
    return found
