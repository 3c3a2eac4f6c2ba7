"""All families, and the one that a question's text belongs to."""

from __future__ import annotations

from functools import lru_cache

from cogumi.teachers.procedural import (
    coding,
    common_sense,
    instruction,
    math,
    reading,
    reasoning,
    science,
    summarization,
    tool_use,
)
from cogumi.teachers.procedural.family import Family, Task

FAMILIES: tuple[Family, ...] = (
    *math.FAMILIES,
    *coding.FAMILIES,
    *tool_use.FAMILIES,
    *reasoning.FAMILIES,
    *reading.FAMILIES,
    *summarization.FAMILIES,
    *common_sense.FAMILIES,
    *instruction.FAMILIES,
    *science.FAMILIES,
)


@lru_cache(maxsize=16)
def by_domain(domain: str) -> tuple[Family, ...]:
    """The families of a domain; empty where there are none."""
    return tuple(family for family in FAMILIES if family.domain == domain)


@lru_cache(maxsize=4096)
def recognise(question: str) -> Task | None:
    """The task a question states, or None. A question that is nobody's costs one failed match a template."""
    for family in FAMILIES:
        task = family.read(question)
        if task is not None:
            return task
    return None
