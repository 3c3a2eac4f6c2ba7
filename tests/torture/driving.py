"""Driving runs that are meant to be hurt: small recipes as child processes, and how many rounds each form has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CELLS = {"math/easy": 3, "math/hard": 3, "reading/hard": 2}
SMALL = ["--set", "dataset.cells={math: {easy: 3, hard: 3}, reading: {hard: 2}}"]
LONG = os.environ.get("COGUMI_TORTURE") == "long"
_STATE = Path(os.environ.get("COGUMI_TORTURE_STATE", ".pytest_cache/torture.json"))


def rounds(name: str, short: int, long: int) -> Iterator[int]:
    """Round numbers still to do. The long form remembers what has passed, so an interrupted night goes on where it was."""
    done: dict[str, int] = json.loads(_STATE.read_text()) if LONG and _STATE.exists() else {}
    for number in range(done.get(name, 0) if LONG else 0, long if LONG else short):
        yield number
        if LONG:
            done[name] = number + 1
            _STATE.parent.mkdir(exist_ok=True)
            _STATE.write_text(json.dumps(done))


GUIDED = ["--set", "dataset.answers_hard.guide=true", "--set", "dataset.answers_hard.cache=1h"]
BY_BATCH = ["--rehearse", *SMALL, *GUIDED, "--set", "dataset.deadline_h=null", "--set", "loopback.fault_share=0.1"]
"""With recipe `small`: every answer through a batch API, hard ones with a cached prefix, faults in both."""


def command(run: str, *more: str, prefect: bool = False, recipe: str = "tiny") -> list[str]:
    base = [sys.executable, "-m", "cogumi.cli.main", "run", "dataset", "--recipe", recipe, "--run", run]
    return [*base, *([] if prefect else ["--no-prefect"]), *more]


def pointed_at(url: str) -> list[str]:
    """Overrides that point every teacher of `tiny` at a provider that outlives the run."""
    changes = []
    for name in ("questioner", "judge", "answerer", "thinker"):
        root = url if name == "thinker" else f"{url}/v1"
        changes += ["--set", f"teachers.{name}.base_url={root}", "--set", f"teachers.{name}.allow_loopback_http=true"]
        changes += ["--set", f"teachers.{name}.backoff_s=[0.02]"]
    return changes


def finish(arguments: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run to the end and expect success."""
    done = subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done
