"""`cogumi compare-prompts` as a user meets it: the price first, nothing bought without a yes, results in text and JSON."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cogumi.cli.comparison_text import result_text
from cogumi.cli.main import run
from tests.torture.oracle import check_money
from tests.unit.cli.test_cli import cogumi, refused

WRONG = "Give answers that are wrong on purpose.\n<thinking>\n[DRAFT]\n[CRITIQUE]\n[REVISED]\n</thinking>\n<answer>\n</answer>\n"
QUESTIONS = [f"What is {n} + {n + 3}?" for n in range(4)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a prompt whose answers are wrong, and easy and hard questions."""
    (tmp_path / "wrong.md").write_text(WRONG)
    rows = [{"question": f"A shop sells {n + 2} pens at {n + 4} each; what do all of them cost?", "domain": "math",
             "difficulty": "hard"} for n in range(6)]  # fmt: skip
    rows += [{"question": text, "domain": "math", "difficulty": "easy"} for text in QUESTIONS]
    rows += [rows[0], {"question": "Who wrote Faust?", "domain": "poetry", "difficulty": "easy"}]
    (tmp_path / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return tmp_path


def test_a_comparison_on_a_finished_run_from_the_command_line(place: Path) -> None:
    assert cogumi("run", "dataset", "--recipe", "tiny", "--no-prefect", cwd=place).returncode == 0
    command = ["compare-prompts", "builtin", "wrong.md", "--recipe", "tiny", "--run", "tiny", "--rows", "24"]
    dry = cogumi(*command, "--dry-run", "--json", cwd=place)
    price = json.loads(dry.stdout)["price"]
    assert (price["answers"], price["judgements"], price["reused"]) == (48, 48, 0) and price["cost_usd"] > 0
    assert not (place / "runs" / "compare-tiny").exists()
    done = cogumi(*command, "--json", cwd=place)
    assert done.returncode == 0 and "at most about $" in done.stderr and "at most 48 judgements" in done.stderr, (
        done.stderr
    )
    figures = json.loads(done.stdout)
    assert (
        figures["verdict"] == "a better" and figures["p"] < 0.001 and figures["price"] == price and figures["rehearsal"]
    )
    assert 0.5 < (figures["cost_usd"] + figures["at_risk_usd"]) / price["cost_usd"] < 3
    check_money(place / "runs" / "compare-tiny")
    again = cogumi(*command, cwd=place, COLUMNS="60")
    said = again.stdout + again.stderr
    assert (
        again.returncode == 0 and "to buy: 0 answers" in said and "a better: builtin (a) against wrong.md (b)" in said
    )
    assert max(len(line) for line in said.splitlines() if "files: " not in line) <= 60, said
    shown = json.loads(cogumi("artifacts", "ls", "--json", cwd=place).stdout)
    assert f"compare-tiny/comparisons/{figures['comparison']}" in {row["artifact"] for row in shown}
    stages = {row["stage"] for row in json.loads(cogumi("ledger", "show", "compare-tiny", "--json", cwd=place).stdout)}
    assert stages == {"compare_answers", "compare_judge"}


def test_real_money_needs_a_yes(place: Path) -> None:
    command = ["compare-prompts", "builtin", "builtin+guide", "-r", "spec-60k", "--questions", "questions.jsonl"]
    keys = {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": "", "OPENROUTER_API_KEY": ""}
    dry = cogumi(*command, "--dry-run", cwd=place, **keys)
    assert dry.returncode == 0 and "12 answers by claude-sonnet-5-5" in dry.stdout + dry.stderr
    missing = cogumi(*command, "--yes", cwd=place, **keys)
    refused(missing, "key-missing", 2)
    assert "$" not in missing.stderr and "OPENROUTER_API_KEY" not in missing.stderr, (
        "only what is called, before the price"
    )
    called = {**dict.fromkeys(keys, "no-key"), "OPENROUTER_API_KEY": ""}
    refused(cogumi(*command, cwd=place, **called), "price-not-accepted", 2)
    refused(cogumi(*command, cwd=place, **dict.fromkeys(keys, "no-key")), "price-not-accepted", 2)
    assert not (place / "runs").exists()


def test_a_rehearsal_takes_any_recipe_and_only_the_questions_of_the_stage(place: Path) -> None:
    (place / "easy.md").write_text("Be wrong on purpose.")
    command = ["compare-prompts", "builtin", "easy.md", "-r", "small", "--stage", "answers_easy", "--rehearse"]
    done = cogumi(*command, "--questions", "questions.jsonl", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["run"] == "compare-small-rehearsal" and figures["questions"] == len(QUESTIONS)
    assert figures["questions_left_out"] == {"unknown-domain": 1, "duplicate": 1, "other difficulty": 6}
    assert "1 unknown-domain, 1 duplicate, 6 other difficulty" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["builtin", "builtin", "--questions", "questions.jsonl"], "prompts-same", 2),
        (["builtin", "none.md", "--questions", "questions.jsonl"], "prompt-unreadable", 2),
        (["builtin", "wrong.md"], "questions-not-named", 2),
        (["builtin", "wrong.md", "--questions", "questions.jsonl", "--run", "tiny"], "questions-not-named", 2),
        (["builtin", "wrong.md", "--questions", "none.jsonl"], "questions-unreadable", 2),
        (["builtin", "wrong.md", "--questions", "questions.jsonl", "--stage", "judge"], "stage-unknown", 2),
        (["builtin", "wrong.md", "--run", "nobody"], "run-not-found", 4),
        (["builtin", "wrong.md", "--questions", "questions.jsonl", "--name", "../out"], "run-name-refused", 2),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_made(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
    exit_code: int,
) -> None:
    command = ["cogumi", "compare-prompts", "--recipe", "tiny", *arguments]
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        run()
    said = capsys.readouterr()
    refused(subprocess.CompletedProcess(command, int(str(ended.value.code)), said.out, said.err), code, exit_code)
    assert not (place / "runs").exists()


def test_a_signal_ends_it_with_its_replies_kept_and_it_resumes(place: Path) -> None:
    command = ["compare-prompts", "builtin", "wrong.md", "--recipe", "tiny", "--questions", "questions.jsonl"]
    slow = ["--set", "loopback.latency_s=0.4", "--set", "dataset.answers_hard.workers=2"]
    child = subprocess.Popen(
        [sys.executable, "-m", "cogumi.cli.main", *command, *slow], cwd=place, stderr=subprocess.PIPE, text=True
    )
    bill = place / "runs" / "compare-tiny" / "provider_bill.tsv"
    while not bill.exists() or not bill.read_text():
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 130 and "run-interrupted" in said and "Traceback" not in said
    kept = check_money(place / "runs" / "compare-tiny").received
    assert kept > 0
    done = cogumi(*command, "--json", cwd=place)
    assert done.returncode == 0 and json.loads(done.stdout)["price"]["reused"] == kept
    check_money(place / "runs" / "compare-tiny")


def test_the_result_has_words_for_figures_that_are_not_there(tmp_path: Path) -> None:
    """All answers of one prompt failed, and no judgement preferred anything."""
    none = {"answers": 0, "unusable": {}, "verified": {}, "prompt_tokens": None, "cached_tokens": None,
            "completion_tokens": None, "usd_per_answer": None}  # fmt: skip
    share = {"count": 0, "share": 0.0, "ci95": [0.0, 1.0]}
    figures = {
        "verdict": "inconclusive", "judge": "j", "test": "sign test, exact", "p": 1.0, "power_of_10_points": 0.0,
        "difference": {"mean": 0.0, "low": -1.0, "high": 1.0}, "a": share, "b": share, "equal": share,
        "position": {"judgements": 2, "first": 0, "second": 0, "equal": 2, "first_share": None, "ci95": [0, 1], "p": 1.0,
                     "inconsistent": 0},
        "prompts": {side: {"prompt": side, **none} for side in "ab"}, "left_out": {"call-failed": 2},
        "cost_usd": 0.0, "at_risk_usd": 0.0,
    }  # fmt: skip
    text = result_text(figures, tmp_path, 80)
    assert "wins of b minus wins of a" in " ".join(text.split())
    assert "none of 2 judgements preferred" in text and "2 call-failed" in text and "None" not in text
