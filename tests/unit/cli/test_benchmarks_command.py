"""cogumi benchmarks, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cogumi.cli.main import app
from cogumi.errors import InputError, RunError


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["benchmarks", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    file = tmp_path / "gsm8k.jsonl"
    rows = [{"question": f"What is {n} + 1?", "answer": f"<<{n}+1={n + 1}>>so\n#### {n + 1}"} for n in range(30)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_what_is_known() -> None:
    rows = json.loads(run("ls", "--json"))
    assert {row["name"] for row in rows} == {"drop", "gpqa", "gsm8k", "humaneval", "math", "mgsm", "mmlu"}


def test_a_look_and_a_sample(gsm8k: Path, tmp_path: Path) -> None:
    told = json.loads(run("look", str(gsm8k), "--as", "gsm8k", "--json"))
    assert told["rows"] == 30 and not told["complete"] and told["matches"] == [] and told["part"] == ""
    out = tmp_path / "validation_test.jsonl"
    made = json.loads(run("sample", f"gsm8k={gsm8k}", "--rows", "10", "--out", str(out), "--json"))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert made["rows"] == {"gsm8k": 10} and len(rows) == 10
    for row in rows:
        assert row.keys() == {"prompt", "responses", "metadata"} and row["metadata"]["source"] == "gsm8k"
        number = int(row["prompt"].split()[2])
        assert row["responses"] == [str(number + 1)] and "<<" not in row["metadata"]["worked"]
    again = tmp_path / "again.jsonl"
    assert (
        json.loads(run("sample", f"gsm8k={gsm8k}", "--rows", "10", "-o", str(again), "--json"))["sha256"]
        == made["sha256"]
    )


def test_training_rows_that_hold_questions_are_told_and_stop_a_pipeline(gsm8k: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n} + 1?", "response": str(n + 1)} for n in (3, 300, 5)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = json.loads(run("contamination", str(tmp_path), f"gsm8k={gsm8k}", "--most", "2", "--json"))
    assert told["contaminated"] == 2 and told["by"] == {"gsm8k": {"exact": 2}}
    listed = tmp_path / "held.jsonl"
    with pytest.raises(RunError, match=r"training-contaminated.*2 rows, 0 allowed"):
        run("contamination", str(tmp_path), f"gsm8k={gsm8k}", "--out", str(listed))
    assert [json.loads(line)["row"] for line in listed.read_text().splitlines()] == [0, 2]


def test_what_cannot_be_read_is_told_by_its_name(gsm8k: Path, tmp_path: Path) -> None:
    for arguments, code in (
        (["look", str(gsm8k), "--as", "gsm9k"], "benchmark-unknown"),
        (["look", str(tmp_path / "nowhere"), "--as", "gsm8k"], "benchmark-unreadable"),
        (["look", str(gsm8k), "--as", "math"], "benchmark-columns"),
        (["sample", str(gsm8k)], "benchmark-unknown"),
    ):
        with pytest.raises(InputError, match=code):
            run(*arguments)
