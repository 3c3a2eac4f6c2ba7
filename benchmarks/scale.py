"""60,000 rows against the loopback provider: seconds, rows a second, and memory against a tenth of the rows.

Each run is a process of its own, without Prefect, through single calls; memory is its largest resident set without the
near-duplicate index, whose size is told apart.
"""

from __future__ import annotations

import os
import subprocess  # nosec B404 # this same interpreter, fixed arguments
import sys
import tempfile
import time
from pathlib import Path

import orjson

from benchmarks.measuring import Figure, report
from cogumi.store.run_folder import read_run

_ONE = """
import asyncio, resource, sys
from pathlib import Path
from cogumi.cli.run_dataset import run_dataset
from cogumi.dataset.request import DatasetRequest
request = DatasetRequest(run="scale", recipe="spec-60k", rehearse=True, root=sys.argv[1], overrides=sys.argv[2:])
run_dataset(request, prefect=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    shares = (0.01, 0.02) if quick else (0.1, 1.0)
    measured = [_one(share) for share in shares]
    small, large = measured
    figures = [
        Figure("memory, large / small", large["memory_mb"] / small["memory_mb"], "ratio", high=1.3),
        Figure("memory, small", small["memory_mb"], "MB"),
        Figure("memory, large", large["memory_mb"], "MB"),
        Figure("near-duplicate index, large", large["index_mb"], "MB"),
        Figure("near-duplicate index", 1e6 * large["index_mb"] / large["rows"], "bytes/row"),
        Figure("rows, large", large["rows"], "rows"),
        Figure("rows a second, large", large["rows"] / large["seconds"], "rows/s"),
        Figure("asked / (rows / pass rate)", large["over_asking"], "ratio", high=1.15),
    ]
    report("scale", figures, {"rows": [m["rows"] for m in measured]}, save=save, table=table)


def _one(share: float) -> dict[str, float]:
    counts = {"coding": 10, "math": 10, "tool_use": 10, "reasoning": 10} | {
        name: 5 for name in ("reading", "summarization", "common_sense", "instruction")
    }
    cells = {name: {"easy": int(400 * k * share), "hard": int(600 * k * share)} for name, k in counts.items()}
    overrides = [f"dataset.cells={orjson.dumps(cells).decode()}"]
    overrides += [f"dataset.answers_{kind}.delivery=sync" for kind in ("easy", "hard")]
    overrides += ["dataset.answers_easy.workers=32", "dataset.answers_hard.workers=32", "dataset.judge.workers=32"]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        began = time.perf_counter()
        done = subprocess.run(  # nosec B603 # fixed command
            [sys.executable, "-c", _ONE, folder, *overrides], capture_output=True, text=True, env={**os.environ}
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        read_run(Path(folder) / "scale")
        figures = orjson.loads((Path(folder) / "scale" / "report.json").read_bytes())["stages"]["generate_dataset"]
    index = figures["near_duplicate_index_bytes"] / 1e6
    memory = int(done.stdout.split()[-1]) * 1024 / 1e6 - index
    rate = figures["accepted"] / figures["asked"]
    over = figures["asked"] / (figures["rows"] / rate)
    return {"memory_mb": memory, "index_mb": index, "seconds": seconds, "rows": figures["rows"], "over_asking": over}
