"""Progress of training: a line an arm, with what the user waits for."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from cogumi.cli import training_bars as bars
from cogumi.training.watching import WATCHER


def shown(monkeypatch: pytest.MonkeyPatch, *, quiet: bool) -> str:
    screen = StringIO()
    monkeypatch.setattr(bars, "console", Console(file=screen, force_terminal=True, width=120))
    with bars.training_bars(quiet, usd_per_hour=36.0):
        tell = WATCHER.get()
        tell("base", SimpleNamespace(step=4, steps=8, loss=2.5, tokens_per_s=1500.0, seconds=10.0))
        tell("meta", SimpleNamespace(step=3, steps=9, loss=1.25, tokens_per_s=900.0, seconds=100.0, gain=0.5))
        tell("meta", SimpleNamespace(step=4, steps=9, loss=1.125, tokens_per_s=900.0, seconds=100.0, gain=None))
    WATCHER.get()("meta", None)  # nobody watches any more
    return screen.getvalue()


def test_loss_gain_speed_cost_and_steps_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, quiet=False)
    assert "4/8" in text and "loss 2.500, 1,500 tokens/s, $0.10" in text
    assert "4/9" in text and "loss 1.125, gain 0.500, 900 tokens/s, $1.00" in text, "the last look's gain stays"


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, quiet=True) == ""
