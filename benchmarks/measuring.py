"""What every benchmark shares: the machine it ran on, a table for people, and one JSON document as the last line."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess  # nosec B404 # nvidia-smi, fixed arguments
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from cogumi.cli.output import print_json, print_table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure beside its target; `low` and `high` are the bounds that count as reached."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    @property
    def reached(self) -> bool | None:
        if self.low is None and self.high is None:
            return None
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    @property
    def target(self) -> str:
        parts = [
            f">= {self.low:g}" if self.low is not None else "",
            f"<= {self.high:g}" if self.high is not None else "",
        ]
        return " and ".join(part for part in parts if part)


def report(name: str, figures: list[Figure], settings: dict[str, Any], *, save: bool, table: bool) -> None:
    """Print the table and the JSON line; with `save` keep the document under results/."""
    if table:
        reached = {True: "yes", False: "NO", None: ""}
        rows = [[f.name, f"{f.value:,.3f}", f.unit, f.target, reached[f.reached]] for f in figures]
        print_table(f"cogumi bench {name}", ["figure", "measured", "unit", "target", "reached"], rows, width=110)
    document = {
        "benchmark": name,
        "command": f"cogumi bench {name}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": settings,
        "figures": {
            f.name: {"value": round(f.value, 4), "unit": f.unit, "target": f.target, "reached": f.reached}
            for f in figures
        },
    }
    if save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print_json(document, indent=False)


def machine() -> dict[str, Any]:
    """Hardware and versions, without names that would say which machine it is."""
    names = ("aiohttp", "openai", "prefect", "sqlalchemy", "httpx2", "torch", "transformers", "peft")
    versions = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "processor": platform.machine(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **versions,
        **gpu(),
    }


def gpu() -> dict[str, str]:
    """The card and its driver, where one is used: only a benchmark that has imported torch uses any."""
    torch = sys.modules.get("torch")
    command = shutil.which("nvidia-smi")
    if torch is None or command is None or not torch.cuda.is_available():
        return {}
    asked = [command, "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    driver = subprocess.run(asked, capture_output=True, text=True).stdout.strip()  # nosec B603
    return {"gpu": torch.cuda.get_device_name(), "driver": driver}
