"""Output: text is printed as it is, results on stdout and everything else on stderr, one JSON document with --json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.main import get_command

from cogumi.cli import output
from cogumi.cli.lazy_group import LazyGroup
from cogumi.cli.main import app
from cogumi.cli.progress_bars import Bars
from cogumi.cli.progress_lines import Lines
from cogumi.cli.progress_part import Part
from cogumi.errors import InputError

HOSTILE = "[bold]x[/] [train] [/nonsense] :smile: 12 \x1b[31m\x9b2J\r\x07\u202e\udc80 end"
SHOWN = r"[bold]x[/] [train] [/nonsense] :smile: 12 \x1b[31m\x9b2J\x0d\x07\u202e\udc80 end"
PRINTERS = {
    "say": lambda: output.say(HOSTILE),
    "say with a style": lambda: output.say("a ", (HOSTILE, "bold red")),
    "say_done": lambda: output.say_done(HOSTILE),
    "note": lambda: output.note(HOSTILE, ("", "red")),
    "warn": lambda: output.warn(HOSTILE),
    "warn, why": lambda: output.warn("w", HOSTILE),
    "print_error": lambda: output.print_error(InputError("stage-unknown", HOSTILE), as_json=False),
    "title": lambda: output.print_table(HOSTILE, ["a" * 100], [["b"]], width=200),
    "column": lambda: output.print_table("", [HOSTILE], [["b"]], width=200),
    "cell": lambda: output.print_table("", ["a"], [[HOSTILE]], width=200),
}


@pytest.mark.parametrize("printer", PRINTERS, ids=str)
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_hostile_text_is_printed_literally(
    printer: str, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RESULTS", "NOTICES"):
        monkeypatch.setattr(getattr(output, name), "_force_terminal", terminal)
    PRINTERS[printer]()
    said = capsys.readouterr()
    assert SHOWN in said.out + said.err
    for control in "\x1b[31m", "\x9b", "\r", "\x07", "\u202e":
        assert control not in said.out + said.err


def test_a_style_is_an_argument_and_colours_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal, shown in ((True, "\x1b[1;32mdone\x1b[0m x\n"), (False, "done x\n")):
        screen = StringIO()
        console = Console(
            file=screen, force_terminal=terminal, color_system="standard" if terminal else None, markup=False
        )
        monkeypatch.setattr(output, "RESULTS", console)
        output.say_done("x")
        assert screen.getvalue() == shown


def test_progress_shows_hostile_text_literally() -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=300, markup=False, emoji=False, highlight=False)
    bars = Bars(console)
    bars.begin("stage")
    bars.show(Part(HOSTILE, 1, 2, kept=True, detail=HOSTILE), new=True)
    bars.show(Part(f"phase {HOSTILE}"), new=True)
    bars.close()
    assert SHOWN in screen.getvalue() and "phase [bold]" in screen.getvalue()
    assert "\x1b[31m\x9b" not in screen.getvalue()


def test_lines_of_progress_go_through_note(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(output.note, every_s=0.1, least_s=0.02)
    lines.begin("stage")
    lines.show(Part(HOSTILE, 1, 2), new=True)
    lines._ended.wait(0.3)
    lines.close()
    said = capsys.readouterr()
    assert SHOWN in said.err and not said.out


def test_a_json_document_keeps_hostile_text_and_shows_no_control(capsys: pytest.CaptureFixture[str]) -> None:
    text = HOSTILE.replace("\udc80", "")
    output.print_json({text: [text]})
    said = capsys.readouterr().out
    assert json.loads(said) == {text: [text]}
    assert not set("\x1b\x9b\x07\u202e") & set(said)
    output.print_json({"file": HOSTILE})
    assert r"\udc80" in json.loads(capsys.readouterr().out)["file"], "a file's name that is no text"


def test_a_long_path_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a folder/" + "deep/" * 60
    output.say(f"  dataset: {path}")
    assert capsys.readouterr().out == f"  dataset: {path}\n"


def test_help_holds_nothing_that_typer_takes_for_markup() -> None:
    commands, texts = [get_command(app)], []
    for command in commands:
        commands += (command.loaded() if isinstance(command, LazyGroup) else getattr(command, "commands", {})).values()
        texts += [command.help or "", *(getattr(option, "help", None) or "" for option in command.params)]
    assert len(texts) > 100 and not [text for text in texts if "[" in text]


def cogumi(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cogumi.cli.main", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=dict(os.environ))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished dataset run, and what its command wrote in out.txt and err.txt."""
    place = tmp_path_factory.mktemp("site")
    done = cogumi("run", "dataset", "--no-prefect", "--run", "tiny", "--dataset", "rows", cwd=place)
    assert done.returncode == 0, done.stderr
    (place / "out.txt").write_text(done.stdout)
    (place / "err.txt").write_text(done.stderr)
    return place


def test_a_run_says_its_result_on_stdout_and_nothing_else_there(site: Path) -> None:
    out = (site / "out.txt").read_text()
    assert out.startswith("done 80 rows") and "report.html" in out and "resuming" not in out
    again = cogumi(*COMMANDS["run"][0], cwd=site)
    assert again.stdout.startswith("done 80 rows") and "resuming" not in again.stdout
    assert "tiny: the dataset is finished" in again.stderr and "done 80 rows" not in again.stderr


COMMANDS = {
    "run": (["run", "dataset", "--no-prefect", "--run", "tiny", "--dataset", "rows"], "done 80 rows"),
    "dry run": (["run", "dataset", "--dry-run"], "Estimate for tiny"),
    "dry run of a base": (["run", "base", "--dry-run"], "base of tiny"),
    "report": (["report", "tiny"], "80 rows"),
    "artifacts": (["artifacts", "ls"], "tiny/dataset"),
    "artifact": (["artifacts", "show", "tiny/dataset"], "train.jsonl"),
    "ledger": (["ledger", "show", "tiny"], "received"),
    "batches": (["batches", "tiny"], "Batches of tiny"),
    "versions": (["versions", "ls", "rows"], "v0001"),
    "benchmarks": (["benchmarks", "ls"], "gsm8k"),
    "doctor": (["doctor"], "cogumi doctor"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_result_is_on_stdout_and_with_json_it_is_one_document(name: str, site: Path) -> None:
    command, result = COMMANDS[name]
    human, machine = cogumi(*command, cwd=site), cogumi(*command, "--json", cwd=site)
    assert result in human.stdout and result not in human.stderr, human
    document = json.loads(machine.stdout)  # one, and nothing beside it
    assert document and result not in machine.stderr


@pytest.mark.parametrize(
    "command",
    [["run", "nonsense"], ["report", "nobody"], ["artifacts", "show", "none"], ["merge", "--base", "x"]],
    ids=" ".join,
)
def test_an_error_is_on_stderr_and_with_json_also_the_one_document(command: list[str], tmp_path: Path) -> None:
    human, machine = cogumi(*command, cwd=tmp_path), cogumi(*command, "--json", cwd=tmp_path)
    assert human.returncode == machine.returncode != 0
    assert not human.stdout and "cause:" in human.stderr and "remedy:" in human.stderr
    assert json.loads(machine.stdout)["error"]["code"] in machine.stderr
