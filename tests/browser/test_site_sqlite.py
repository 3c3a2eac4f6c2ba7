"""A site on SQLite whose machine dies in the middle of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.sites import brought_up, cogumi, crash_and_resume

pytestmark = pytest.mark.browser


def test_on_sqlite_a_machine_that_dies_in_the_middle(folder: Path, tmp_path: Path) -> None:
    """Worker and flow run die at once, so nobody is left to tell: the missing heartbeat does."""
    root = brought_up(folder)
    again = json.loads(cogumi(folder, "up", "--json"))
    assert again["dashboard"] == root, "a second up changes nothing"
    crash_and_resume(folder, root, tmp_path, "watched", whole_family=True)
