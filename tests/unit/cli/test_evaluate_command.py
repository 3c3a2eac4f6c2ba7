"""cogumi evaluate, run validate and benchmarks export, as a user types them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from cogumi.cli.main import app
from cogumi.errors import CogumiError
from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.evaluate.reference import read_recorded
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow, Scoring
from cogumi.evaluate.sample import stratified
from cogumi.evaluate.scores import read_scores
from cogumi.evaluate.suite import write_suite
from cogumi.store.files import read_jsonl
from tests.unit.evaluate.models import chat_model


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("models")
    return chat_model(place / "one", 1), chat_model(place / "two", 2)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    rows = [
        BenchmarkRow(f"What is {n} + 1?", (str(n + 1),), "gsm8k", "Math", Scoring.NUMBER, UNKNOWN, UNKNOWN, {})
        for n in range(6)
    ]
    rows += [
        BenchmarkRow(f"Which, {n}?\nA. a\nB. b\nC. c\nD. d", ("ABCD"[n % 4],), "mmlu", "Knowledge", Scoring.CHOICE, UNKNOWN,
                     "s", {"question": f"Which, {n}?", "choices": list("abcd")})
        for n in range(8)
    ]  # fmt: skip
    write_suite(tmp_path / "suite.jsonl", rows)
    return tmp_path / "suite.jsonl"


def test_two_models_in_one_table_and_every_row_in_files(models: tuple[Path, Path], suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = json.loads(
        run(
            "evaluate",
            f"first={models[0]}",
            f"second={models[1]}",
            "-s",
            str(suite),
            "-o",
            str(out),
            "--max-new-tokens",
            "6",
            "--json",
        )
    )
    assert told["names"] == ["first", "second"] and told["verdict_of"] == ["second", "first"]
    assert told == json.loads((out / "comparison.json").read_text())
    for name in told["names"]:
        rows = read_scores(out / "scores" / f"{name}.jsonl", name).rows
        assert len(rows) == 14 == told["models"][name]["rows"]
        assert {row.outcome for row in rows if row.source == "mmlu"} <= {"right", "wrong"}, (
            "a choice is always one of four"
        )
    same = json.loads(
        run(
            "evaluate",
            f"a={models[0]}",
            f"b={models[0]}",
            "-s",
            str(suite),
            "-o",
            str(out),
            "--max-new-tokens",
            "6",
            "--json",
        )
    )
    assert same["comparisons"][0]["bits_per_byte"]["mean"] == 0 and same["verdict"] == "inconclusive"


def test_a_letter_that_is_written_and_the_most_probable_one(
    models: tuple[Path, Path], suite: Path, tmp_path: Path
) -> None:
    arguments = (
        "evaluate",
        str(models[0]),
        "-s",
        str(suite),
        "-o",
        str(tmp_path / "o"),
        "--max-new-tokens",
        "6",
        "--json",
    )
    by_likelihood, written = json.loads(run(*arguments)), json.loads(run(*arguments, "--choices", "generation"))
    assert by_likelihood["by_source"]["one"]["mmlu"]["outcomes"].keys() <= {"right", "wrong"}
    assert "truncated" in written["by_source"]["one"]["mmlu"]["outcomes"], "six random tokens end no turn"


def test_the_gate_is_an_exit_code(models: tuple[Path, Path], suite: Path, tmp_path: Path) -> None:
    with pytest.raises(CogumiError, match="gate-not-passed"):
        run(
            "evaluate",
            f"a={models[0]}",
            f"b={models[1]}",
            "-s",
            str(suite),
            "-o",
            str(tmp_path / "o"),
            "--max-new-tokens",
            "4",
            "--gate",
            "0.02",
        )
    assert (tmp_path / "o" / "comparison.json").is_file(), "and what it says of it is there to be looked at"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["one={0}", "one={1}"], "models-same-name"),
        (["{0}", "--choices", "guess"], "choices-unknown"),
        (["nowhere/at/all"], "model-not-allowed"),
        (["{0}", "--gate", "0.02"], "models-too-few"),
        (["{0}", "--recorded", "gsm8k"], "reference-unreadable"),
    ],
)
def test_bad_input_is_said(models: tuple[Path, Path], suite: Path, tmp_path: Path, more: list[str], code: str) -> None:
    with pytest.raises(CogumiError, match=code):
        run("evaluate", *(part.format(*models) for part in more), "-s", str(suite), "-o", str(tmp_path / "o"))


def test_what_was_read_is_kept_where_the_next_model_fails(
    models: tuple[Path, Path], suite: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(models[1], tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(CogumiError, match="model-not-finite"):
        run("evaluate", f"one={models[0]}", f"two={broken}", "-s", str(suite), "-o", str(tmp_path / "o"),
            "--max-new-tokens", "4")  # fmt: skip
    assert len(read_scores(tmp_path / "o" / "scores" / "one.jsonl").rows) == 14


def test_code_needs_a_sandbox_and_none_of_it_a_flag(
    models: tuple[Path, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stratified(list(BENCHMARKS["humaneval"].read(data / "HumanEval.jsonl.gz")), 3)
    write_suite(tmp_path / "code.jsonl", rows)
    arguments = [
        "evaluate",
        str(models[0]),
        "-s",
        str(tmp_path / "code.jsonl"),
        "-o",
        str(tmp_path / "o"),
        "--max-new-tokens",
        "8",
    ]
    with pytest.raises(CogumiError, match="code-not-trusted"):
        run(*arguments, "--sandbox", "none")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(CogumiError, match="sandbox-missing"):
        run(*arguments, "--sandbox", "none", "--i-trust-this-code")
    told = json.loads(run(*arguments, "--sandbox", "off", "--json"))
    assert told["models"]["one"]["outcomes"] == {"unjudged": 3} and told["models"]["one"]["accuracy"] is None
    sampled = json.loads(run(*arguments, "--code-samples", "2", "--json"))
    assert sampled["models"]["one"]["pass_at"] == {"1": 0.0, "2": 0.0} and sampled["models"]["one"]["n"] == 3


def test_gpt_4_on_the_same_rows_where_its_answers_are_at_hand(
    models: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    recorded = read_recorded(data / "routellm" / "gsm8k_responses.csv")
    assert recorded.model == "gpt-4-1106-preview" and len(recorded.right) == 1319
    assert sum(recorded.right.values()) / len(recorded.right) == pytest.approx(0.857, abs=0.001)
    rows = stratified(list(BENCHMARKS["gsm8k"].read(data / "gsm8k_test.jsonl")), 8)
    write_suite(tmp_path / "g.jsonl", rows)
    told = json.loads(
        run("evaluate", str(models[0]), "-s", str(tmp_path / "g.jsonl"), "-o", str(tmp_path / "o"), "--max-new-tokens", "4",
            "--recorded", f"gsm8k={data / 'routellm' / 'gsm8k_responses.csv'}", "--json")
    )  # fmt: skip
    found = told["relative_to_gpt4"]["gsm8k"]
    assert (found["of"], found["n"], found["accuracy"], found["relative"]) == ("the same rows", 8, 0.0, 0.0)
    assert found["gpt4"] == sum(recorded.of(rows).right.values()) / 8
    bad = tmp_path / "bad.csv"
    bad.write_text("prompt,claude\nx,True\n")
    with pytest.raises(CogumiError, match="reference-unreadable"):
        read_recorded(bad)
    bad.write_text("prompt,gpt-4\nx,Perhaps\n")
    with pytest.raises(CogumiError, match="row 2"):
        read_recorded(bad)


def test_an_export_has_a_task_of_each_benchmark(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "tasks"
    told = json.loads(run("benchmarks", "export", str(suite), "-o", str(out), "--json"))
    assert told["tasks"] == ["cogumi_gsm8k", "cogumi_mmlu"]
    task: dict[str, Any] = yaml.safe_load((out / "cogumi_mmlu.yaml").read_text())
    assert task["output_type"] == "multiple_choice" and Path(task["dataset_kwargs"]["data_files"]["test"]).is_file()
    rows = list(read_jsonl(out / "cogumi_mmlu.jsonl"))
    assert [row["choices"][row["gold"]] for row in rows] == [row["answer"] for row in rows]
    assert all(
        row["context"].startswith("<|begin_of_text|>") and row["context"].endswith("<|end_header_id|>\n\n")
        for row in rows
    )


def test_a_dry_run_says_what_would_be_asked(tmp_path: Path) -> None:
    told = json.loads(run("run", "validate", "--recipe", "tiny", "--root", str(tmp_path), "--dry-run", "--json"))
    assert told["rows"] == {"held-out, at most": 8, "fresh": 8, "ranked": 16} and told["tokens_at_most"] == 16 * 16
    assert not any(tmp_path.iterdir())


def test_nothing_is_trained_in_this_process_either_on_rows_that_hold_a_benchmark(tmp_path: Path) -> None:
    root = str(tmp_path / "runs")
    run("run", "dataset", "--recipe", "tiny", "--root", root, "--no-prefect", "--json")
    rows = [
        json.loads(line) for line in (tmp_path / "runs" / "tiny" / "dataset" / "train.jsonl").read_text().splitlines()
    ]
    file = tmp_path / "gsm8k.jsonl"
    file.write_text(json.dumps({"question": rows[0]["prompt"], "answer": "#### 1"}) + "\n")
    with pytest.raises(CogumiError, match="training-contaminated"):
        run(
            "run",
            "all",
            "--recipe",
            "tiny",
            "--root",
            root,
            "--no-prefect",
            "--set",
            f"validation.benchmarks.gsm8k={file}",
            "--json",
        )
    assert not (tmp_path / "runs" / "tiny" / "base").exists()
