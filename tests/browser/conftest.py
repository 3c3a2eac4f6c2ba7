"""A folder for a site of the browser's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.sites import cogumi


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to bring a site up in, which is taken down whatever happens."""
    yield tmp_path
    if (tmp_path / ".cogumi" / "site.json").exists():
        cogumi(tmp_path, "down", "--grace", "2")
