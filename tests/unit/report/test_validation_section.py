"""The validation in the report: figures as they are, answers as text, whatever a model has written."""

from __future__ import annotations

import json
import re
from functools import cache
from html import unescape
from pathlib import Path

import pytest

from cogumi.evaluate.judging import Outcome
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.evaluate.samples import pick_samples
from cogumi.evaluate.scores import RowScore, Scores, figures
from cogumi.evaluate.table import table_of
from cogumi.recipe import load_recipe
from cogumi.report.build import write_report
from cogumi.store.artifacts import new_artifact
from cogumi.store.files import write_jsonl
from cogumi.store.run_folder import RunFolder
from tests.unit.report.test_report import HOSTILE, parsed

DEVICE = {"name": "CPU", "torch_name": "cpu", "pool": "", "simulated": False}


MARK = "what-a-model-has-written"


@cache
def _validation() -> tuple[str, str]:
    """Figures and samples of a validation, as JSON, in which questions, answers and domains are the mark."""
    rows = [
        BenchmarkRow(f"{MARK} {n}", (MARK,), "gsm8k", MARK if n % 2 else "Math", Scoring.NUMBER, "easy", "", {})
        for n in range(12)
    ]

    def scores(name: str, every: int) -> Scores:
        return Scores(name, [
            RowScore(row.key, row.source, row.domain, row.difficulty, "", row.key, 9.0 + n + every, 4, 12, n % every == 0,
                     float(n % every == 0), str(Outcome.RIGHT if n % every == 0 else Outcome.TRUNCATED), "", MARK)
            for n, row in enumerate(rows)
        ])  # fmt: skip

    scored = {name: scores(name, every) for name, every in (("base", 3), ("merged", 2))}
    told = {name: {**figures(each.rows), "pass_at": {}} for name, each in scored.items()}
    found = table_of(scored, told, rows, "base", "merged") | {
        "sources": {"gsm8k": {"rows": 12}}, "device": DEVICE, "contaminated": 0, "seconds": 1.0,
        "contamination": {"rows": 40, "contaminated": 0, "by": {}, "benchmarks": {"gsm8k": 1319}},
    }  # fmt: skip
    return json.dumps(found), json.dumps(pick_samples(scored["merged"], scored["base"], rows, 3, 1))


def _written(place: Path, text: str) -> Path:
    """A run with that validation, the mark replaced."""
    found, samples = (json.loads(each.replace(MARK, json.dumps(text)[1:-1])) for each in _validation())
    with RunFolder.open(place, "r", load_recipe("tiny")) as folder:
        with new_artifact(folder.path / "validation", "validate_model", "x", {}, 1) as made:
            write_jsonl(made.path / "samples.jsonl", samples)
            made.metrics |= found
        return folder.path


def test_the_page_says_what_the_figures_say(tmp_path: Path) -> None:
    folder = _written(tmp_path, "plain")
    report = write_report(folder)
    page = unescape((folder / "report.html").read_text())
    stage = report["stages"]["validate_model"]
    assert stage["models"]["merged"]["accuracy"] == 0.5 and stage["models"]["base"]["accuracy"] == pytest.approx(1 / 3)
    assert f"Merged over base: {stage['verdict']}" in page and "50.0%" in page and "+16.7%" in page
    assert "0 of 40 training rows hold a question of gsm8k (1,319)" in page
    assert "GPT-4, published 2023-03-15" in page and "Bits a byte by domain" in page
    assert page.index("<td>base</td>") < page.index("<td>merged</td>"), "models in the order they were given"
    assert page.count("<summary>largest gain") == 3


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_model_has_written_stays_text(tmp_path: Path, kind: str) -> None:
    folder = _written(tmp_path, HOSTILE[kind])
    write_report(folder)
    page = (folder / "report.html").read_text()
    tags = parsed(page)
    assert not {"script", "iframe", "img", "link", "form"} & set(tags.tags)
    assert tags.tags.count("style") == 1
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert not re.search("[\x1b\u202e\u2066]", page)
