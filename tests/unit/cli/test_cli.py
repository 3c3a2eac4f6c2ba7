"""The command line as a user meets it: exit codes, codes with cause and remedy, no traceback, no secret anywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cogumi.cli.main import app, run
from cogumi.recipe import load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.training.claim import training_is_installed
from tests.torture.oracle import check_money

NO_PREFECT = ["--no-prefect"]
TRAINS = pytest.mark.skipif(not training_is_installed(), reason="extra train is missing: pip install -e '.[train]'")


def cogumi(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cogumi.cli.main", *arguments]
    return subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
        timeout=300,
    )


def refused(done: subprocess.CompletedProcess[str], code: str, exit_code: int) -> None:
    assert done.returncode == exit_code, done
    assert code in done.stderr and "cause:" in done.stderr and "remedy:" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_tiny_run_from_the_command_line_and_what_can_be_asked_of_it(tmp_path: Path) -> None:
    done = cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stages"]["generate_dataset"]["rows"] == 80
    again = cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path)
    assert again.returncode == 0 and "the dataset is finished, nothing to buy" in again.stderr
    assert "done 80 rows" in again.stdout
    report = json.loads(cogumi("report", "tiny", "--json", cwd=tmp_path).stdout)
    assert report["stages"]["generate_dataset"]["status"] == "completed"
    (artifact,) = json.loads(cogumi("artifacts", "ls", "--json", cwd=tmp_path).stdout)
    assert artifact["artifact"] == "tiny/dataset" and artifact["rows"] == 80
    assert cogumi("artifacts", "show", "tiny/dataset", cwd=tmp_path).returncode == 0
    assert json.loads(cogumi("artifacts", "gc", "--json", cwd=tmp_path).stdout)["removed"] == []
    states = {row["state"] for row in json.loads(cogumi("ledger", "show", "tiny", "--json", cwd=tmp_path).stdout)}
    assert "received" in states and "intent" not in states
    assert cogumi("ledger", "backup", "tiny", "copy.db", cwd=tmp_path).returncode == 0
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm", "finished.json"):
        (tmp_path / "runs" / "tiny" / name).unlink(missing_ok=True)
    lost = cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path)
    refused(lost, "ledger-missing", 4)
    assert "cogumi ledger restore" in lost.stderr
    assert cogumi("ledger", "restore", "copy.db", "--to", "tiny", cwd=tmp_path).returncode == 0
    resumed = cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path)
    assert resumed.returncode == 0 and "nothing to buy" in resumed.stderr
    refused(cogumi("ledger", "restore", "copy.db", "--to", "tiny", cwd=tmp_path), "backup-exists", 3)


def test_a_dry_run_of_the_base_model_trains_nothing(tmp_path: Path) -> None:
    done = cogumi("run", "base", "--recipe", "demo", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tokens"] == told["steps"] * 8 * 192 and told["memory_gib"] > 1
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_adapters_needs_no_torch_where_nothing_is_at_hand(tmp_path: Path) -> None:
    done = cogumi("run", "train", "--recipe", "spec-60k", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["algorithm"] == "anil" and 24 < told["memory_gib"] < 46 and "steps" not in told


def test_a_damaged_artifact_is_found_by_show(tmp_path: Path) -> None:
    assert cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path).returncode == 0
    file = tmp_path / "runs" / "tiny" / "dataset" / "answers_easy_32.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    refused(cogumi("artifacts", "show", "tiny/dataset", cwd=tmp_path), "artifact-damaged", 3)


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["run"],
        ["report"],
        ["compare-prompts"],
        ["bench"],
        ["doctor"],
        ["teacher", "serve"],
        ["artifacts", "ls"],
        ["ledger", "backup"],
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0 and "Usage" in done.output


def test_it_tells_its_version(tmp_path: Path) -> None:
    assert cogumi("--version", cwd=tmp_path).stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["run", "datset"], "usage", 2),
        (["run", "dataset", "--base", "b"], "usage", 2),
        (["run", "train", "--rehearse"], "usage", 2),
        (["run", "all", "--suite", "s"], "usage", 2),
        (["run", "dataset", "--set"], "usage", 2),
        (["run", "dataset", "--set", "dataset.cells={finance: {easy: 5}}", "--dry-run"], "domain-unknown", 2),
        (["run", "base", "--set", "dataset.cells={finance: {easy: 5}}"], "domain-unknown", 2),
        (["demo", "--only", "training"], "stage-unknown", 2),
        (["run", "train", "--base", "No Such"], "request-bad-value", 2),
        (["run", "dataset", "--recipe", "dmeo"], "recipe-not-found", 2),
        (["run", "dataset", "--set", "dataset.judge.pass_maen=3"], "recipe-unknown-key", 2),
        (["run", "dataset", "--set", "teachers.judge.api_key_env=sk-ant-0123456789abcdefghij"], "secret-in-recipe", 2),
        (["run", "dataset", "--run", "../out"], "run-name-refused", 2),
        (["run", "dataset", "--questions", "none.jsonl", "--no-prefect"], "questions-unreadable", 2),
        (["run", "dataset", "--recipe", "small", "--no-prefect"], "key-missing", 2),
        (["run", "dataset", "--no-prefect", "--set", "teachers.judge.base_url=http://example.com/v1"], "url-refused", 2),
        (["run", "dataset", "--no-prefect", "--set", "teachers.judge.model=gpt-9"], "price-unknown", 5),
        (["run", "dataset", "--dataset", "Weekly"], "version-name-refused", 2),
        (["run", "dataset", "--period", "week 47"], "request-bad-value", 2),
        (["run", "base", "--run", "../out"], "request-bad-value", 2),
        (["run", "base", "--dataset", "Weekly@3"], "request-bad-value", 2),
        (["run", "base", "--dataset", "weekly@newest"], "request-bad-value", 2),
        (["run", "base", "--set", "base.steps"], "recipe-bad-override", 2),
        (["run", "base", "--set", "base.heads=5"], "recipe-bad-value", 2),
        (["run", "base", "--set", "purpose=sk-ant-0123456789abcdefghij"], "secret-in-recipe", 2),
        (["run", "base", "--recipe", "small", "--no-prefect"], "stage-not-in-recipe", 2),
        pytest.param(["run", "base", "--run", "nobody", "--no-prefect"], "run-without-dataset", 4, marks=TRAINS),
        pytest.param(["run", "base", "--dataset", "weekly", "--no-prefect"], "version-not-found", 4, marks=TRAINS),
        (["resume", "nobody"], "run-not-found", 4),
        (["report", "nobody"], "run-not-found", 4),
        (["bench", "nothing"], "bench-unknown", 2),
        (["artifacts", "show", "nobody/dataset"], "run-not-found", 4),
        (["ledger", "show", "nobody"], "run-not-found", 4),
        (["teacher", "serve", "--script", "meteor"], "stage-unknown", 2),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
    exit_code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cogumi", *arguments])
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "")
    with pytest.raises(SystemExit) as ended:
        run()
    said = capsys.readouterr()
    refused(subprocess.CompletedProcess(arguments, int(str(ended.value.code)), said.out, said.err), code, exit_code)
    assert "0123456789abcdefghij" not in said.out + said.err


def against(provider: LoopbackProcess, *more: str) -> list[str]:
    """Arguments that point every teacher of `tiny` at a provider."""
    changes = []
    for name in ("questioner", "judge", "answerer", "thinker"):
        root = provider.url if name == "thinker" else f"{provider.url}/v1"
        changes += [
            "--set",
            f"teachers.{name}.base_url={root}",
            "--set",
            f"teachers.{name}.allow_loopback_http=true",
            *(f"--set=teachers.{name}.{m}" for m in more),
        ]
    return ["run", "dataset", "--recipe", "tiny", *NO_PREFECT, *changes]


@pytest.mark.parametrize(
    ("script", "more", "code"),
    [
        (["402"] * 500, [], "credit-exhausted"),
        (["quota"] * 500, [], "quota-exhausted"),
        (["redirect"] * 500, [], "redirect-refused"),
        (["403"] * 500, [], "forbidden"),
        (["400"] * 500, [], "too-many-failures"),
        (["503"] * 500, ["max_attempts=1"], "too-many-failures"),
    ],
)
def test_a_provider_that_refuses_ends_the_run_by_code_and_the_run_can_go_on(
    tmp_path: Path, script: list[str], more: list[str], code: str
) -> None:
    with LoopbackProcess(Behaviour(script=["ok"] * 12 + script, bill=tmp_path / "bill.tsv")) as provider:
        done = cogumi(*against(provider, *more), cwd=tmp_path)
        refused(done, code, 4 if code == "too-many-failures" else 6)
        assert not (tmp_path / "runs" / "tiny" / "dataset").exists()
    with LoopbackProcess(Behaviour(bill=tmp_path / "bill.tsv")) as provider:
        assert cogumi(*against(provider), cwd=tmp_path).returncode == 0


def test_a_wrong_key_ends_the_run_and_is_shown_nowhere(tmp_path: Path) -> None:
    with LoopbackProcess(Behaviour(key="right")) as provider:
        done = cogumi(*against(provider, "api_key_env=WRONG_KEY"), cwd=tmp_path, WRONG_KEY="sk-wrong-canary-0123456789")
    refused(done, "unauthorized", 6)
    assert "canary" not in done.stdout + done.stderr


def test_an_unreachable_provider_is_said_to_be(tmp_path: Path) -> None:
    with LoopbackProcess(Behaviour()) as provider:
        arguments = against(provider, "max_attempts=1")
    done = cogumi(*arguments, cwd=tmp_path)
    assert done.returncode == 6 and "connect-refused" in done.stderr
    later = cogumi(*arguments, "--set", "preflight=false", cwd=tmp_path)  # as one that goes away after the preflight
    assert later.returncode == 4 and "too-many-failures" in later.stderr and "connect-refused" in later.stderr


def test_two_runs_on_one_folder(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cogumi.cli.main",
        "run",
        "dataset",
        "--recipe",
        "tiny",
        *NO_PREFECT,
        "--set",
        "loopback.latency_s=0.5",
    ]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "runs" / "tiny" / "ledger.db").exists():
            assert first.poll() is None
        refused(cogumi(*command[3:], cwd=tmp_path), "run-locked", 4)
    finally:
        first.kill()
        first.wait()


def test_a_ledger_that_another_run_is_still_making_does_not_hide_the_lock(tmp_path: Path) -> None:
    """Between its first byte and its first table a ledger cannot be read; the lock is what a second run is told of."""
    folder = tmp_path / "runs" / "tiny"
    with RunFolder.open(tmp_path / "runs", "tiny", load_recipe("tiny")):
        (folder / "ledger.db").write_bytes(b"not a database yet" * 100)
        refused(cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path), "run-locked", 4)


def test_a_newer_run_folder_is_left_alone(tmp_path: Path) -> None:
    assert cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path).returncode == 0
    ledger = tmp_path / "runs" / "tiny" / "ledger.db"
    with sqlite3.connect(ledger) as connection:
        connection.execute("update meta set value = '99'")
    connection.close()
    (tmp_path / "runs" / "tiny" / "finished.json").unlink()
    refused(cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path), "ledger-newer", 3)
    path = tmp_path / "runs" / "tiny" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    refused(cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path), "run-newer", 3)


@pytest.mark.parametrize("prefect", [False, True], ids=["in-process", "prefect"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_takes_the_replies_that_are_paid_for_and_the_run_resumes(
    tmp_path: Path, number: int, prefect: bool
) -> None:
    command = [
        sys.executable,
        "-m",
        "cogumi.cli.main",
        "run",
        "dataset",
        "--recipe",
        "tiny",
        *([] if prefect else NO_PREFECT),
        "--set",
        "loopback.latency_s=0.4",
    ]
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs are started deaf to it
    )
    bill = tmp_path / "runs" / "tiny" / "provider_bill.tsv"
    while not bill.exists() or not bill.read_text():
        assert child.poll() is None
    child.send_signal(number)
    _, said = child.communicate(timeout=300)
    assert child.returncode == 130 and "run-interrupted" in said and "Traceback" not in said
    with sqlite3.connect(tmp_path / "runs" / "tiny" / "ledger.db") as ledger:
        states = dict(ledger.execute("select state, count(*) from attempts group by state"))
    assert set(states) <= {"received", "failed"}, "nothing that was sent is left without its reply"
    assert check_money(tmp_path / "runs" / "tiny").received == states["received"] > 0
    assert cogumi("run", "dataset", "--recipe", "tiny", *NO_PREFECT, cwd=tmp_path).returncode == 0


def test_twelve_planted_keys_reach_no_output(tmp_path: Path) -> None:
    """Keys in the environment, quoted back by the provider in every refused call, are in no file and no line of a run."""
    canaries = {f"CANARY_{n}": f"sk-canary{n:02d}-{'x' * 8}{n * 7919:06d}" for n in range(12)}
    prefect = {"COGUMI_TRACEBACK": "1", "PREFECT_HOME": str(tmp_path / "prefect")}
    with LoopbackProcess(Behaviour(key="right")) as provider, ThreadPoolExecutor(2) as pool:

        def run(number: int, name: str) -> subprocess.CompletedProcess[str]:
            arguments = against(provider, f"api_key_env={name}")
            if number == 0:  # one of them through Prefect: its database and artifacts are searched too
                arguments.remove("--no-prefect")
            return cogumi(*arguments, "--run", f"r{number}", cwd=tmp_path, **canaries, **prefect)

        for done in pool.map(run, range(12), canaries):
            assert done.returncode == 6
            said = done.stdout + done.stderr
            assert not [key for key in canaries.values() if key in said]
    assert cogumi("report", "r11", cwd=tmp_path).returncode == 0
    assert (tmp_path / "prefect" / "prefect.db").is_file()
    hits = []
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        hits += [(path.name, key) for key in canaries.values() if key.encode() in content]
    assert hits == []


def test_the_doctor_checks_machine_and_recipe(tmp_path: Path) -> None:
    checks: list[dict[str, Any]] = json.loads(cogumi("doctor", "--json", cwd=tmp_path).stdout)
    assert len(checks) >= 12
    assert {c["check"]: c["ok"] for c in checks}["prefect server imports"]
    assert [c["check"] for c in checks if not c["ok"]] == ([] if shutil.which("bwrap") else ["sandbox"]), checks
    done = cogumi(
        "doctor",
        "--recipe",
        "small",
        "--json",
        cwd=tmp_path,
        OPENAI_API_KEY="",
        ANTHROPIC_API_KEY="",
        OPENROUTER_API_KEY="",
    )
    assert done.returncode == 1
    assert "OPENAI_API_KEY is not set" in done.stdout


def test_a_dry_run_prices_without_a_call_or_a_key(tmp_path: Path) -> None:
    done = cogumi("run", "dataset", "--recipe", "spec-60k", "--dry-run", "--json", cwd=tmp_path, OPENAI_API_KEY="")
    expected = json.loads(done.stdout)
    assert (
        expected["calls"] > 70_000
        and 200 < expected["plain_usd"] < 400
        and 100 < expected["cost_usd"] < 200
        and expected["minutes"] > 60
    )
    assert not (tmp_path / "runs").exists()
