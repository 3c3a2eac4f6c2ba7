"""What was skipped is named once, with how to get it, kept in a file, and a failure where everything is required."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.skipped import REMEDIES, reason, summary

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
from tests.skipped import miss, reason

@pytest.mark.parametrize("n", [1, 2])
def test_in_a_sandbox(n):
    miss("bubblewrap")

@pytest.mark.skipif(True, reason=reason("COGUMI_DATA"))
def test_on_data():
    pass

def test_of_nothing():
    pass
"""


def run_pytest(place: Path, *arguments: str, require: str = "") -> str:
    (place / "test_made.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skipped", "-p", "no:cacheprovider", "-c", os.devnull]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COGUMI_REQUIRE": require}
    done = subprocess.run(
        [*command, "--rootdir", str(place), *arguments], cwd=place, env=environment, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_a_run_ends_with_what_it_skipped_and_two_runs_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "skipped"
    first = run_pytest(tmp_path, "-n", "2", "--skipped-file", str(file))
    assert "2 tests skipped: bubblewrap is missing: apt-get install bubblewrap" in first, first
    assert "1 test skipped: COGUMI_DATA is missing" in first and "1 passed, 3 skipped" in first, first
    assert sorted(file.read_text().splitlines()) == [
        f"test_made.py::test_in_a_sandbox[1]\t{reason('bubblewrap')}",
        f"test_made.py::test_in_a_sandbox[2]\t{reason('bubblewrap')}",
        f"test_made.py::test_on_data\t{reason('COGUMI_DATA')}",
    ]
    second = run_pytest(tmp_path, "--skipped-file", str(file), "-k", "sandbox")
    assert "4 tests skipped: bubblewrap" in second and "1 test skipped: COGUMI_DATA" in second, second


def test_required_and_missing_is_a_failure(tmp_path: Path) -> None:
    told = run_pytest(tmp_path, require="1")
    assert "2 failed, 1 passed, 1 skipped" in told and "required: bubblewrap is missing" in told, told


def test_reasons_are_counted_the_commonest_first() -> None:
    assert summary(["a", "b", "b"]) == ["2 tests skipped: b", "1 test skipped: a"]


def test_all_that_tests_miss_has_a_remedy_and_nothing_is_skipped_otherwise() -> None:
    missed, other = set(), []
    for file in (ROOT / "tests").rglob("*.py"):
        text = file.read_text()
        missed |= set(re.findall(r'\b(?:miss|reason)\("([^"]+)"\)', text))
        if file.name not in ("skipped.py", Path(__file__).name) and "pytest.skip(" in text:
            other.append(file.name)
    assert missed == set(REMEDIES) and other == []
