"""A provider at its worst: a fifth of all calls fail in some way, and the bill stays between known and known + at risk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.driving import CELLS, SMALL, command, finish, rounds
from tests.torture.oracle import check_money, check_published

pytestmark = pytest.mark.torture


def test_a_fifth_of_all_calls_fail_and_the_accounts_agree(tmp_path: Path) -> None:
    for number in rounds("faults", 6, 1000):
        faults = [
            "--set",
            "loopback.fault_share=0.2",
            "--set",
            f"loopback.seed={number}",
            "--set",
            "loopback.latency_s=0.002",
        ]
        patience = [
            f"--set=teachers.{name}.{what}"
            for name in ("questioner", "judge", "answerer", "thinker")
            for what in ("backoff_s=[0.01]", "max_attempts=6")
        ]
        name = f"faults{number}"
        finish(command(name, *SMALL, *faults, *patience), tmp_path)
        check_published(tmp_path / "runs" / name, CELLS)
        accounts = check_money(tmp_path / "runs" / name)
        assert accounts.unknown > 0 or number
