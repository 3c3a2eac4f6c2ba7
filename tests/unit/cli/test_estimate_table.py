"""The dry run fits the terminal: no line is too long, no word is broken, every figure stands there whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cogumi.cli.estimate_table import estimate_text
from cogumi.dataset.estimate import estimate
from cogumi.recipe import load_recipe, preset_names

GUIDED = ["dataset.answers_hard.guide=true", "dataset.answers_hard.cache=1h"]
WIDTHS = [60, 80, 120, 200]


def words_of(row: dict[str, Any]) -> set[str]:
    figures = (f"{row['calls']:,}", f"{row['cost_usd']:,.2f}", f"{row['plain_usd']:,.2f}", f"{row['minutes']:,.1f}")
    return {row["stage"], row["model"], *figures}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("changes", [[], GUIDED], ids=["plain", "guided"])
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_fits(preset: str, changes: list[str], width: int) -> None:
    expected = estimate(load_recipe(preset, changes))
    text = estimate_text(expected, preset, width)
    assert max(map(len, text.splitlines())) <= width, text
    told = set(text.split())
    for row in expected["stages"]:
        assert words_of(row) <= told, (words_of(row) - told, text)
    assert ("the guide before hard questions" in " ".join(text.split())) == bool(changes)


@pytest.mark.parametrize("width", ["60", "80"])
def test_the_dry_run_fits_the_terminal_that_the_environment_names(tmp_path: Path, width: str) -> None:
    command = [sys.executable, "-m", "cogumi.cli.main", "run", "dataset", "--recipe", "spec-60k", "--dry-run"]
    environment = {**os.environ, "COLUMNS": width}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "answers_hard" in said and "claude-sonnet-5-5" in said and "36,000" in said
    assert max(map(len, said.splitlines())) <= int(width), said


def test_the_dry_run_of_an_older_run_counts_the_guide_that_it_began_with(tmp_path: Path) -> None:
    """Format 2 with a cache; the preset of the same command has no guide now."""
    name = "run-0.1.0-format2-cache"
    shutil.copytree(Path(__file__).parents[2] / "fixtures" / name, tmp_path / "runs" / name)
    command = ["run", "dataset", "--recipe", "tiny", "--run", name, "--dry-run", "--json"]
    command += ["--set", "dataset.cells={math: {easy: 3, hard: 4}, reading: {hard: 3}}"]
    done = subprocess.run(
        [sys.executable, "-m", "cogumi.cli.main", *command], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["guide"]["cache"] == "1h"


def money(**changes: Any) -> str:
    expected = {
        "stages": estimate(load_recipe("tiny"))["stages"], "calls": 900, "cost_usd": 154.74, "cost_usd_range": [108.32, 216.64],
        "plain_usd": 458.7, "saving_usd": 303.96, "minutes": 1563.5, "max_usd": None, "guide": None,
    }  # fmt: skip
    return " ".join(estimate_text({**expected, **changes}, "r", 80).split())


def test_the_guide_is_a_line_of_its_own_and_savings_are_of_the_same_prompts() -> None:
    guide = {"tokens": 2371, "cost_usd": 8.54, "cache": "1h", "delivery": "batch"}
    told = money(guide=guide)
    assert "the guide before hard questions is $8.54 of it: 2,371 tokens per call, cached for 1h, by batch" in told
    assert "caching saves $303.96 of the $458.70 that single calls of the same prompts cost" in told
    assert "not cached, in single calls" in money(guide={**guide, "cache": "off", "delivery": "sync"})
    assert "save" not in money(saving_usd=0.0) and "guide" not in money()
    assert "caching costs $1.20 more than single calls" in money(saving_usd=-1.2)
