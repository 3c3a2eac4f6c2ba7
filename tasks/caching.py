"""ContentKey: tasks are cached by the content of their inputs and a version bumped by hand, never by their source
code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.transactions import IsolationLevel

from cogumi.errors import StorageError
from tasks.redis_locks import RedisLocks


@dataclass
class ContentKey(CachePolicy):
    """The key is the task's name, this version and the `key` input, which the caller computes from content."""

    version: str = "1"

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        return f"{task_ctx.task.name}/{self.version}/{inputs['key']}"


def cache_policy() -> CachePolicy:
    """ContentKey; with COGUMI_LOCKS_URL (redis://...) serializable too: of tasks with one key at once, one runs."""
    url = os.environ.get("COGUMI_LOCKS_URL", "")
    if not url:
        return ContentKey()
    locks = RedisLocks(url)
    return ContentKey().configure(isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=locks)


_MAY_PASS = ("disk-error", "database-unreachable", "path-taken")
"""A disk or database that is away may come back, and what lies in a file's place may be moved."""


async def may_pass_with_time(task: Any, run: Any, state: Any) -> bool:
    """Whether a further try may help. Provider errors were retried already."""
    outcome = await state.aresult(raise_on_failure=False)
    return isinstance(outcome, StorageError) and outcome.code in _MAY_PASS
