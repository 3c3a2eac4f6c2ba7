"""Wrong input before anything else: every fault at once, one code a cause, JSON for all of them, no traceback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cogumi.cli.main import Commands
from cogumi.errors import address_error, storage_error
from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess
from tests.unit.cli.test_cli import NO_PREFECT, against, cogumi, refused

COMMAND = [sys.executable, "-m", "cogumi.cli.main"]


def test_all_missing_keys_are_named_at_once_before_a_folder_is_made(tmp_path: Path) -> None:
    names = ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")
    done = cogumi("run", "dataset", "--recipe", "small", cwd=tmp_path, **dict.fromkeys(names, ""))
    refused(done, "key-missing", 2)
    assert all(name in done.stderr for name in names) and not (tmp_path / "runs").exists()


def test_all_problems_of_a_recipe_are_named_at_once(tmp_path: Path) -> None:
    wrong = ["dataset.judge.pass_mean=11", "dataset.questions.per_call=0", "seed=-1"]
    done = cogumi("run", "dataset", *(f"--set={override}" for override in wrong), cwd=tmp_path)
    refused(done, "recipe-bad-value", 2)
    assert all(override.partition("=")[0] in done.stderr for override in wrong)
    unknown = cogumi("run", "dataset", "--set", "dataset.judge.pass_maen=1", "--set", "bugdet.max_usd=1", cwd=tmp_path)
    refused(unknown, "recipe-unknown-key", 2)
    assert "'pass_mean'" in unknown.stderr and "'budget'" in unknown.stderr


def test_an_unknown_domain_is_refused_before_it_is_priced_with_the_known_ones(tmp_path: Path) -> None:
    cells = "dataset.cells={finance: {easy: 5}, law: {hard: 5}}"
    done = cogumi("run", "dataset", "--recipe", "spec-60k", "--set", cells, "--dry-run", cwd=tmp_path)
    refused(done, "domain-unknown", 2)
    assert "finance, law" in done.stderr and "coding" in done.stderr and "$" not in done.stdout


def test_questions_of_an_unknown_domain_are_refused_before_prefect_is_started(tmp_path: Path) -> None:
    row = {"question": "How long is an egg boiled?", "domain": "cookery", "difficulty": "easy"}
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    for more in ([], ["--dry-run"]):
        done = cogumi(
            "run", "dataset", "--questions", "q.jsonl", *more, cwd=tmp_path, PREFECT_HOME=str(tmp_path / "prefect")
        )
        refused(done, "domain-unknown", 2)
        assert "unknown domain: cookery; there are coding, math, " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


def test_every_option_that_is_a_whole_number_has_a_least_value() -> None:
    whole = {
        f"{name} {parameter.name}": parameter.min
        for name, command in Commands().loaded().items()
        for each in (getattr(command, "commands", None) or {name: command}).values()
        for parameter in each.params
        if parameter.type_descriptor.annotation is int
    }
    assert len(whole) >= 12 and [name for name, least in whole.items() if least is None] == []


@pytest.mark.parametrize("port", ["80000", "-1"])
def test_a_port_that_does_not_exist_is_an_error_of_usage(tmp_path: Path, port: str) -> None:
    refused(cogumi("teacher", "serve", "--port", port, cwd=tmp_path), "usage", 2)


@pytest.mark.parametrize("arguments", [["run", "base", "--rehearse"], ["run", "dataset", "--recipe", "dmeo"], ["rnu"]])
def test_json_is_for_usage_errors_too(tmp_path: Path, arguments: list[str]) -> None:
    done = cogumi(*arguments, "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 2 and error["code"] in ("usage", "recipe-not-found") and error["remedy"]


def test_one_code_a_cause() -> None:
    def code(number: int) -> str:
        return storage_error(OSError(number, os.strerror(number)), "place").code

    assert {code(13), code(1), code(30)} == {"permission-denied"}
    assert {code(20), code(17), code(21)} == {"path-taken"}
    assert code(28) == "disk-full" and code(5) == "disk-error"
    assert address_error(OSError(98, ""), "a:1").code == "port-taken"
    assert address_error(OSError(13, ""), "a:1").code == "port-not-permitted"
    assert address_error(OSError(99, ""), "a:1").code == "address-unusable"


def test_a_taken_port_and_a_root_that_is_a_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused(cogumi("run", "dataset", "--root", "file", *NO_PREFECT, cwd=tmp_path), "path-taken", 3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused(cogumi("teacher", "serve", "--port", port, cwd=tmp_path), "port-taken", 4)


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["dataset", "--root", "file"], "path-taken", 3),
        (["base", "--root", "file"], "path-taken", 3),
        (["base", "--run", "none"], "run-without-dataset", 4),
        (["train", "--run", "none"], "run-without-dataset", 4),
        (["draft", "--run", "none"], "run-without-dataset", 4),
        (["validate", "--run", "none"], "run-without-dataset", 4),
    ],
)
def test_what_is_not_there_is_said_before_prefect_starts(
    tmp_path: Path, arguments: list[str], code: str, exit_code: int
) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused(cogumi("run", *arguments, cwd=tmp_path, PREFECT_HOME=str(tmp_path / "prefect")), code, exit_code)
    assert not (tmp_path / "prefect").exists()


def test_a_stop_inside_a_flow_is_told_once(tmp_path: Path) -> None:
    limit = ["--set", "budget.max_usd=0.01"]
    done = cogumi("run", "dataset", *limit, cwd=tmp_path, PREFECT_HOME=str(tmp_path / "prefect"))
    refused(done, "budget-reached", 5)
    assert "ERROR" not in done.stderr and "WARNING" not in done.stderr and "Crash" not in done.stderr, done.stderr


def test_a_run_that_keeps_no_row_ends_with_the_commonest_reason(tmp_path: Path) -> None:
    rows = [
        {"question": f"How many is {n}? Explain it shortly.", "domain": "math", "difficulty": "easy"} for n in range(4)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = ["--questions", "q.jsonl", "--set", "dataset.judge.pass_mean=10", *NO_PREFECT]
    done = cogumi("run", "dataset", *given, cwd=tmp_path)
    refused(done, "no-rows", 4)
    assert "judge/" in done.stderr and not (tmp_path / "runs" / "tiny" / "dataset").exists()


def test_an_error_inside_a_flow_is_shown_by_code_and_without_prefects_traceback(tmp_path: Path) -> None:
    augment = "dataset.augment=[{source: commonsenseqa, rows: 2, path: none.json}]"
    done = cogumi("run", "dataset", "--set", augment, cwd=tmp_path, PREFECT_HOME=str(tmp_path / "prefect"))
    refused(done, "augment-unreadable", 2)
    assert done.stderr.count("augment-unreadable") == 1 and "Encountered exception" not in done.stderr


def test_ctrl_c_twice_ends_in_one_line(tmp_path: Path) -> None:
    with LoopbackProcess(Behaviour(latency_s=30)) as provider:
        child = subprocess.Popen(
            [*COMMAND, *against(provider, "timeout_s=60"), "--set", "preflight=false"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs are started deaf to it
        )  # fmt: skip
        until = time.monotonic() + 60
        while not provider.look("/arrivals")["arrivals"] and time.monotonic() < until:
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        time.sleep(1.0)
        assert child.poll() is None, "the first waits for the replies under way"
        child.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, said = child.communicate(timeout=30)
    assert child.returncode == 130 and time.monotonic() - started < 10
    lines = [line for line in said.splitlines() if "interrupted" in line]
    assert len(lines) == 1 and "Traceback" not in said, said
    assert "ERROR" not in said and "WARNING" not in said, said
