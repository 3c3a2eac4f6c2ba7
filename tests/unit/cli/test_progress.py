"""Progress: bars on a terminal, lines on a pipe, told by training and by every phase of the library."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from cogumi.cli import progress as module
from cogumi.cli.progress import progress
from cogumi.cli.progress_lines import Lines
from cogumi.cli.progress_part import Part
from cogumi.cli.training_progress import training_progress
from cogumi.phases import WATCHER, report_phase, within
from cogumi.training.stopping import interruptible
from cogumi.training.watching import WATCHER as STEPS


class Written:
    """Lines with the seconds at which they came."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.at = [time.monotonic()]

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.at.append(time.monotonic())

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.at, [*self.at[1:], time.monotonic()], strict=True)]


def on_a_pipe(monkeypatch: pytest.MonkeyPatch, every_s: float, least_s: float) -> Written:
    written = Written()

    def lines(write: Callable[[str], None]) -> Lines:
        return Lines(written, every_s=every_s, least_s=least_s)

    monkeypatch.setattr(module, "Lines", lines)
    monkeypatch.setattr(module, "NOTICES", SimpleNamespace(is_terminal=False))
    return written


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=160, markup=False, highlight=False, emoji=False)
    monkeypatch.setattr(module, "NOTICES", console)
    return screen


def train() -> None:
    tell = STEPS.get()
    tell("base", SimpleNamespace(step=4, steps=8, loss=2.5, tokens_per_s=1500.0, seconds=10.0))
    tell("meta", SimpleNamespace(step=3, steps=9, loss=1.25, tokens_per_s=900.0, seconds=100.0, gain=0.5))
    tell("meta", SimpleNamespace(step=4, steps=9, loss=1.125, tokens_per_s=900.0, seconds=100.0, gain=None))


def test_a_stage_that_is_silent_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    written = on_a_pipe(monkeypatch, every_s=0.3, least_s=0.05)
    with progress("train"):
        report_phase("closing table")
        time.sleep(1.6)
    assert written.lines[0] == "train: closing table"
    assert len(written.lines) >= 4 and all(
        line.startswith("still: train: closing table, ") for line in written.lines[1:]
    )
    assert max(written.gaps) < 0.6


def test_before_the_first_report_too(monkeypatch: pytest.MonkeyPatch) -> None:
    written = on_a_pipe(monkeypatch, every_s=0.1, least_s=0.02)
    with progress("up"):
        time.sleep(0.5)
    assert written.lines[0] == "up: starting" and written.lines[1].startswith("still: up: starting, ")


def test_a_quick_command_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    written = on_a_pipe(monkeypatch, every_s=7.0, least_s=2.0)
    with progress("report"):
        report_phase("report")
    assert not written.lines


def test_lines_do_not_come_faster_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    written = on_a_pipe(monkeypatch, every_s=0.4, least_s=0.2)
    with progress("train") as reporter:
        until, number = time.monotonic() + 1.5, 0
        while time.monotonic() < until:
            number += 1
            report_phase(f"phase {number}")
            reporter.update("meta", number, 10**9, "steps")
    assert 3 <= len(written.lines) <= 8 and min(written.gaps[1:-1]) > 0.15, written.lines


def test_on_a_pipe_loss_gain_speed_cost_steps_and_time_left_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    written = on_a_pipe(monkeypatch, every_s=0.1, least_s=0.02)
    with training_progress("train", usd_per_hour=36.0):
        train()
        time.sleep(0.3)
    text = "\n".join(written.lines)
    assert "train: base 4/8 steps, loss 2.500, 1,500 tokens/s, $0.10; meta 4/9 steps, " in text
    assert "left, loss 1.125, gain 0.500, 900 tokens/s, $1.00" in text, "the last evaluation's gain stays"
    STEPS.get()("meta", None)  # nobody watches any more


def test_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_a_terminal(monkeypatch)
    with training_progress("train", usd_per_hour=36.0):
        train()
        report_phase("closing table", 2, 3, "models")
    text = screen.getvalue()
    assert "4/8 steps" in text and "loss 2.500, 1,500 tokens/s, $0.10" in text
    assert "4/9 steps" in text and "loss 1.125, gain 0.500, 900 tokens/s, $1.00" in text
    assert "closing table" not in text.rpartition("4/9 steps")[2], "a phase's bar goes when it is over"


def test_the_rate_and_the_time_left_are_of_what_was_seen() -> None:
    part = Part("rows", done=30, total=50, unit="rows", first_done=10, began=time.monotonic() - 10)
    assert str(part).startswith("rows 30/50 rows, 2.0/s, 00:")
    part.given_rate = 0.5
    assert str(part) == "rows 30/50 rows, 2.0 s each, 00:40 left"
    part.given_rate, part.total = 0.001, 40_030
    assert "11111:06:40 left" in str(part)


def test_a_stage_inside_another_uses_the_same_display(monkeypatch: pytest.MonkeyPatch) -> None:
    written = on_a_pipe(monkeypatch, every_s=0.1, least_s=0.01)
    with progress("pipeline") as outer:
        with progress("validate") as inner:
            report_phase("rows")
            time.sleep(0.15)
        assert inner is outer
        time.sleep(0.25)
    assert "validate: rows" in written.lines and any(line.startswith("still: pipeline") for line in written.lines)


def test_phases_of_a_training_thread_arrive_and_are_named_by_what_they_are_of() -> None:
    seen: list[str] = []

    def work() -> None:
        WATCHER.set(lambda phase: seen.append(f"{phase.name} {phase.done}/{phase.total}"))
        with within("acceptance"), within("sampled"):
            interruptible(lambda stop: report_phase("answers", 3, 5))
        report_phase("report")

    contextvars.copy_context().run(work)
    report_phase("nobody watches")
    assert seen == ["acceptance: sampled: answers 3/5", "report 0/None"]


def test_a_reader_that_is_gone_does_not_end_the_work() -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError

    lines = Lines(broken, every_s=0.05, least_s=0.01)
    lines.show(Part("x"), new=True)
    time.sleep(0.2)
    lines.close()
