"""The embedded teacher: seeded question families with worked steps and verifiers. No key, no network."""

from cogumi.teachers.procedural.catalogue import FAMILIES, by_domain, recognise
from cogumi.teachers.procedural.family import Family, Solution, Task

__all__ = ["FAMILIES", "Family", "Solution", "Task", "by_domain", "recognise"]
