"""Keys: where a teacher's key comes from: what the caller has given for its variable, else the environment.

with keys_given([Credential("OPENAI_API_KEY", "...")]):
    ...     # teachers whose api_key_env is OPENAI_API_KEY use it; nothing is written anywhere
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_GIVEN: ContextVar[Mapping[str, str] | None] = ContextVar("keys-given", default=None)


@dataclass(frozen=True, slots=True)
class Credential:
    """A key and the variable that recipes know it by."""

    variable: str
    key: str = field(repr=False)


@contextmanager
def keys_given(credentials: Iterable[Credential]) -> Iterator[None]:
    """Use these keys in this context, before those of the environment."""
    token = _GIVEN.set({credential.variable: credential.key for credential in credentials})
    try:
        yield
    finally:
        _GIVEN.reset(token)


def key_for(variable: str) -> str:
    """The key known by a variable's name, without spaces around it; "" where there is none."""
    given = _GIVEN.get() or {}
    return (given.get(variable) or os.environ.get(variable, "")).strip()
