"""A site on PostgreSQL with Redis whose worker dies in the middle of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.sites import brought_up, crash_and_resume

pytestmark = pytest.mark.browser


def test_on_postgresql_and_redis_a_worker_that_dies(
    folder: Path, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    root = brought_up(folder, "--database-url", database_url, "--redis-url", redis_url)
    crash_and_resume(folder, root, tmp_path, "shared", whole_family=False)
