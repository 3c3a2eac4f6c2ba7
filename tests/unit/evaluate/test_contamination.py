"""Contamination: planted rows are found, each way; clean ones are not; and the real questions at hand are looked through."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from random import Random

import pytest

from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.evaluate.contamination import ContaminationIndex, How, by_source
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring
from tests.skipped import reason

DATA = Path(os.environ.get("COGUMI_DATA", "nowhere"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=reason("COGUMI_DATA"))
WORDS = [
    "river",
    "stone",
    "lantern",
    "quick",
    "amber",
    "seven",
    "market",
    "window",
    "copper",
    "thread",
    "violin",
    "harbour",
    "plain",
    "letter",
    "winter",
    "orange",
]


def question(number: int, words: int = 30) -> str:
    rng = Random(number)
    return " ".join(rng.choice(WORDS) + str(rng.randint(0, 9)) for _ in range(words)) + "?"


def row(text: str, cluster: str = "") -> BenchmarkRow:
    more = {"cluster": cluster} if cluster else {}
    return BenchmarkRow(text, ("1",), "made", "Math", Scoring.NUMBER, UNKNOWN, UNKNOWN, more)


def index(*texts: str) -> ContaminationIndex:
    return ContaminationIndex({"made": [row(text) for text in texts]})


def test_each_way_of_holding_a_question_is_found() -> None:
    whole, short = question(1), "Why is the sky blue in the evening?"
    made = index(whole, short)
    words = whole.split()
    texts = [
        (whole, ""), (whole.upper().replace(" ", "\n"), ""), (f"Please answer. {whole} Think.", ""), ("Other", f"It says: {whole}"),
        (" ".join(["so", *words[4:17], "then"]), ""), (short.replace("evening", "evenings"), ""), (question(2), "x"),
        (" ".join(["so", *words[4:16], "then"]), ""),
    ]  # fmt: skip
    hits = {hit.row: hit.how for hit in made.look(texts)}
    assert hits == {0: How.EXACT, 1: How.EXACT, 2: How.GRAM, 3: How.GRAM, 4: How.GRAM, 5: How.NEAR}, (
        "twelve words are no sign"
    )
    assert by_source(made.look(texts)) == {"made": {"exact": 2, "13-gram": 3, "near": 1}}


def test_words_that_many_questions_share_are_no_sign_and_those_of_a_passage_are() -> None:
    form = "which of the following statements about the passage that you have just read is true"
    forms = ContaminationIndex({"made": [row(f"{question(n)} {form}") for n in range(3)]})
    assert forms.look([(f"{question(99)} {form}", "")]) == []
    passage = question(7, 40)
    read = ContaminationIndex({"made": [row(f"{passage} {question(100 + n, 5)}", "one passage") for n in range(5)]})
    assert [hit.how for hit in read.look([(f"Read this. {passage} What of it?", "")])] == [How.GRAM]


@needs_data
def test_rows_made_from_test_sets_are_found_and_those_of_training_sets_are_not() -> None:
    """As 101 rows of the original's were: of GSM8K's test set and HumanEval, with a word or two before them."""
    tests = {name: list(BENCHMARKS[name].read(DATA / file)) for name, file in
             (("gsm8k", "gsm8k_test.jsonl"), ("humaneval", "HumanEval.jsonl.gz"), ("math", "math_test_5000.jsonl"))}  # fmt: skip
    made = ContaminationIndex(tests)
    rng = Random(0)
    planted = [row.prompt for name in ("gsm8k", "humaneval") for row in rng.sample(tests[name], 50)]
    texts = [(text if number % 2 else f"Solve this problem.\n\n{text}", "") for number, text in enumerate(planted)]
    assert len(made.look(texts)) == len(texts)
    clean = [(row.prompt, row.more["worked"]) for row in BENCHMARKS["gsm8k"].read(DATA / "gsm8k_train.jsonl")]
    found = made.look(clean)
    assert len(found) <= 0.002 * len(clean), [clean[hit.row][0][:100] for hit in found][:5]


@needs_data
@pytest.mark.alone
def test_sixty_thousand_rows_take_a_minute_at_most() -> None:
    rows = [json.loads(line) for file in sorted((DATA / "raw_questions").glob("*.jsonl")) for line in file.open()]
    texts = [(row["question"], "") for row in rows]
    texts = (texts * 2)[:60_000]
    names = {"gsm8k": "gsm8k_test.jsonl", "humaneval": "HumanEval.jsonl.gz", "math": "math_test_5000.jsonl",
             "mmlu": "mmlu_test", "mgsm": "mgsm/mgsm_en.tsv", "drop": "drop_v0_dev.jsonl.gz"}  # fmt: skip
    began = time.process_time()
    made = ContaminationIndex({name: list(BENCHMARKS[name].read(DATA / file)) for name, file in names.items()})
    hits = made.look(texts)
    took = time.process_time() - began
    assert took <= 60 and len(hits) < 0.02 * len(texts)
