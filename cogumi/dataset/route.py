"""Route: how each stage's calls are delivered, one by one or through the batch API, by price and deadline.

Single calls are quick and dear; a batch costs a share of them and may take its whole window. Only the answers can be
routed by `auto`: questions and judge go in rounds, and a batch a round would take days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cogumi.recipe import Recipe, TeacherSection
from cogumi.teachers.pricing import Price, price_of
from cogumi.teachers.types import Cache, Usage

Way = Literal["sync", "batch"]


@dataclass(frozen=True, slots=True)
class Calls:
    """What a stage still has to buy from one teacher: calls, tokens per call, and minutes of single calls.

    `guide`: tokens of the guide, which are part of `prompt` (0 for none); a cache keeps them as long as `cache` says.
    """

    stage: str
    teacher: str
    count: int
    prompt: int
    completion: int
    guide: int
    sync_minutes: float
    cache: Cache = "off"


@dataclass(frozen=True, slots=True)
class Route:
    """The way taken. `guide_usd` is the guide's part of the cost; `plain_usd` is the price of the same prompts and
    answers as single calls without a cache.
    """

    way: Way
    cost_usd: float
    guide_usd: float
    minutes: float
    plain_usd: float


def choose_routes(recipe: Recipe, calls: list[Calls]) -> dict[tuple[str, str], Route]:
    """The route of each (stage, teacher): what the recipe fixes, and for `auto` the cheapest within the deadline.

    The two answering stages run side by side after questions and judge, so each has what those leave of the deadline.
    """
    first = [c.sync_minutes for c in calls if not c.stage.startswith("answers")]
    left = None if recipe.dataset.deadline_h is None else recipe.dataset.deadline_h * 60 - max(first, default=0.0)
    return {(c.stage, c.teacher): _route(recipe, c, left) for c in calls}


def _route(recipe: Recipe, calls: Calls, left_minutes: float | None) -> Route:
    teacher = recipe.teachers[calls.teacher]
    wanted = recipe.dataset.stages[calls.stage].delivery
    ways = [_by_sync(teacher, calls)]
    if teacher.batch is not None:
        ways.append(_by_batch(teacher, calls))
    if wanted != "auto":
        return next(route for route in ways if route.way == wanted)
    if not calls.stage.startswith("answers"):
        return ways[0]
    in_time = [route for route in ways if left_minutes is None or route.minutes <= left_minutes]
    return min(in_time or ways[:1], key=lambda route: route.cost_usd)


def _by_sync(teacher: TeacherSection, calls: Calls) -> Route:
    price = price_of(teacher)
    return _priced("sync", price, price, calls, calls.sync_minutes)


def _by_batch(teacher: TeacherSection, calls: Calls) -> Route:
    assert teacher.batch is not None, "asked only where there is a batch API"
    price = price_of(teacher)
    minutes = teacher.batch.window_h * 60 if calls.count else 0.0
    return _priced("batch", price.batched(teacher.batch.price_share), price, calls, minutes)


def _priced(way: Way, price: Price, plain: Price, calls: Calls, minutes: float) -> Route:
    """The route at `price`; `plain` is that of single calls."""
    if not calls.count:
        return Route(way, 0.0, 0.0, minutes, 0.0)
    bare = price.cost(Usage(calls.prompt - calls.guide, calls.completion)) * calls.count
    guide = _guide(price, calls)
    at_list = plain.cost(Usage(calls.prompt, calls.completion)) * calls.count
    return Route(way, (bare + guide) / 1e9, guide / 1e9, minutes, at_list / 1e9)


def _guide(price: Price, calls: Calls) -> int:
    """Nano-dollars of the guide: with a cache the first call writes it and the others read it."""
    if calls.cache == "off":
        return price.cost(Usage(calls.guide)) * calls.count
    per_token = price.cache_write_1h if calls.cache == "1h" else price.cache_write
    write = round(calls.guide * (per_token - price.cached))
    return price.cost(Usage(calls.guide, cached=calls.guide)) * calls.count + write
