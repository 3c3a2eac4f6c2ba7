"""The first tutorial, run block by block as a new user would; links and files that the docs name exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.flows
def test_the_first_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    page = (ROOT / "docs" / "tutorial" / "first-dataset.md").read_text()
    blocks = BLOCK.findall(page)
    assert len(blocks) >= 7
    for kind, code in blocks:
        command = ["bash", "-euo", "pipefail", "-c", code] if kind == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (code, done.stdout, done.stderr)
    assert (tmp_path / "runs" / "killed" / "dataset" / "receipt.json").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_figure_of_the_readme_stands_in_the_benchmarks() -> None:
    table = re.findall(r"^\| .+ \| .+ \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)[2:]
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "benchmarks").glob("*.md"))
    assert table and all(figure in pages for figure in table), table
