"""Section: what every part of a recipe is built on."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cogumi.domain import DOMAINS
from cogumi.domain.cells import domain_key

Share = Annotated[float, Field(ge=0, le=1)]
MAX_SEED = 2**53 - 1
"""Every generator of random numbers takes seeds from 0 to this, and JSON holds them exactly."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class UnknownDomain(ValueError):
    """A value names no domain: in the context of pydantic's error."""


def _domain(name: str) -> str:
    if name not in DOMAINS:
        raise UnknownDomain("unknown domain")
    return name


def _domain_as_written(name: str) -> str:
    if domain_key(name) is None:
        raise UnknownDomain("unknown domain")
    return name


Domain = Annotated[str, AfterValidator(_domain)]
"""The key of a domain, such as common_sense."""
WrittenDomain = Annotated[str, AfterValidator(_domain_as_written)]
"""A domain as rows of files may spell it, such as "Common Sense"."""


class Section(BaseModel):
    """A part of the recipe: unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
