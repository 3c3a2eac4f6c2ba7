"""Staff: the teachers of a run, built from its recipe, sharing one ledger, one budget and one loopback provider.

async with open_staff(recipe, ledger) as staff:
    reply = await staff.ask("judge", system, user, max_tokens=500, temperature=0, stage="judge")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cogumi.errors import InputError
from cogumi.extras import need
from cogumi.recipe import BatchSection, Recipe, TeacherSection
from cogumi.store.ledger import Ledger
from cogumi.teachers.anthropic_messages import AnthropicWire
from cogumi.teachers.batch_desk import SDKS, BatchDesk
from cogumi.teachers.batching import BatchedTeacher
from cogumi.teachers.budget import Budget
from cogumi.teachers.keys import key_for
from cogumi.teachers.limiter import Limiter
from cogumi.teachers.openai_compatible import OpenAIWire
from cogumi.teachers.pricing import Price, price_of
from cogumi.teachers.procedural.gym import GYM
from cogumi.teachers.procedural.local import LocalTransport
from cogumi.teachers.procedural.mind import Mind
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.teachers.teacher import LedgeredTeacher, Tally, Transport
from cogumi.teachers.transport import HttpTransport, RawReply
from cogumi.teachers.types import Cache, Reply, Request, Teacher

BILL_FILE = "provider_bill.tsv"


class Staff:
    """The teachers by the recipe's names."""

    def __init__(self, recipe: Recipe, ledger: Ledger, teachers: dict[str, LedgeredTeacher], budget: Budget) -> None:
        self.recipe = recipe
        self.ledger = ledger
        self.teachers = teachers
        self.batched: dict[str, BatchedTeacher] = {}
        self.budget = budget

    async def ask(
        self,
        name: str,
        system: str,
        user: str,
        *,
        max_tokens: int,
        temperature: float | None,
        stage: str,
        replica: int = 0,
        cache: Cache = "off",
        batched: bool = False,
    ) -> Reply:
        """One call to a teacher by its name in the recipe, or its part of a batch. Raises as `complete` does."""
        teacher: Teacher = self.batched[name] if batched else self.teachers[name]
        request = Request(teacher.model, system, user, max_tokens, temperature, replica, cache)
        return await teacher.complete(request, stage)

    def batched_as(self, teacher: LedgeredTeacher) -> BatchedTeacher | None:
        """The batched teacher of the same provider and model, which must follow all of its batches, or None."""
        same = (t for t in self.batched.values() if (t.provider, t.model) == (teacher.provider, teacher.model))
        return next(same, None)

    @property
    def tally(self) -> Tally:
        """Calls of this process over all teachers."""
        total = Tally()
        everyone: set[LedgeredTeacher | BatchedTeacher] = {*self.teachers.values(), *self.batched.values()}
        for teacher in everyone:
            total.bought += teacher.tally.bought
            total.reused += teacher.tally.reused
            total.retried += teacher.tally.retried
            total.open += teacher.tally.open
        return total


@asynccontextmanager
async def open_staff(recipe: Recipe, ledger: Ledger, run_folder: Path) -> AsyncIterator[Staff]:
    """Start what the recipe needs and close it afterwards.

    Raises InputError url-refused, key-missing or extra-missing, BudgetError price-unknown: all before the first call.
    """
    totals = ledger.totals()
    budget = Budget(recipe.budget.max_usd, totals.cost_nanousd, totals.at_risk_nanousd)
    loopback = LoopbackProcess(loopback_behaviour(recipe, run_folder)) if recipe.needs_loopback else None
    staff = Staff(recipe, ledger, {}, budget)
    limiters = shared_limiters(recipe)
    try:
        url = loopback.start().url if loopback else ""
        for name, section in recipe.teachers.items():
            staff.teachers[name] = _hire(section, url, ledger, budget, limiters[name])
            if section.batch is not None:
                made = staff.batched_as(staff.teachers[name]) or _batched(
                    staff.teachers[name], section, section.batch, url, ledger, budget
                )
                staff.batched[name] = made
        for batched in set(staff.batched.values()):
            batched.adopt()
        yield staff
    finally:
        for batched in set(staff.batched.values()):
            await batched.aclose()
        await asyncio.gather(*(teacher.aclose() for teacher in staff.teachers.values()))  # one drain for all
        if loopback:
            loopback.stop()


class _NothingSent:
    """A transport for teachers that only read what the ledger holds."""

    async def post(self, path: str, body: bytes) -> RawReply:
        raise AssertionError(f"a replay sends nothing, and {path} was asked")

    async def aclose(self) -> None:
        return None


def unsent_teachers(recipe: Recipe, ledger: Ledger) -> dict[str, LedgeredTeacher]:
    """The recipe's teachers without keys or connections: they reply from the ledger and cannot send."""
    return {
        name: LedgeredTeacher(
            provider=section.label,
            model=section.model,
            wire=wire_of(section),
            transport=_NothingSent(),
            ledger=ledger,
            budget=Budget(None),
            limiter=Limiter(None, None),
            retry=RetryPolicy(1, (1.0,)),
            price=Price(0, 0, 0, 0, 0),
            in_flight=section.in_flight,
        )
        for name, section in recipe.teachers.items()
    }


def loopback_behaviour(recipe: Recipe, run_folder: Path) -> Behaviour:
    """How the embedded provider behaves for a recipe; its bill lies in the run folder.

    Raises InputError extra-missing where it is to know Reasoning Gym's answers and the extra `gym` is not installed.
    """
    section = recipe.loopback
    families = [part for part in recipe.dataset.augment if part.source.startswith(GYM)]
    if families:
        need("dataset.augment reasoning_gym", "reasoning_gym")
    return Behaviour(
        latency_s=section.latency_s,
        fault_share=section.fault_share,
        seed=section.seed,
        defect_share=section.defect_share,
        wrong_share=section.wrong_share,
        untidy_share=0.3,
        rpm=section.rpm,
        tpm=section.tpm,
        bill=run_folder / BILL_FILE,
        batch_s=section.batch_s,
        batch_fault_share=section.fault_share,
        gym=[(part.source.removeprefix(f"{GYM}_"), recipe.seed, 2 * part.rows + 100) for part in families],
    )


def shared_limiters(recipe: Recipe) -> dict[str, Limiter]:
    """The limiter of each teacher by name. Teachers that are the same model of one provider share one, with the
    lowest limits that any of them states: to the provider they are one customer.
    """
    limiters: dict[tuple[str, str, str], Limiter] = {}
    by_name: dict[str, Limiter] = {}
    for name, section in recipe.teachers.items():
        limiter = limiters.setdefault((section.label, section.base_url, section.model), Limiter(None, None))
        limiter.lower(section.rpm, section.tpm)
        by_name[name] = limiter
    return by_name


def open_desk(section: TeacherSection, loopback_url: str = "") -> BatchDesk:
    """The batch API of a teacher. Raises InputError url-refused, key-missing, extra-missing."""
    need(f"batches of {section.model}", *SDKS)
    root, http = _root(section, loopback_url), section.allow_loopback_http or section.base_url == "loopback"
    if section.wire == "anthropic":  # the SDKs take a second to import, which only batches are worth
        from cogumi.teachers.anthropic_batch import AnthropicBatchDesk  # noqa: PLC0415

        return AnthropicBatchDesk(root, _key(section), section.timeout_s, http)
    from cogumi.teachers.openai_batch import OpenAIBatchDesk  # noqa: PLC0415

    return OpenAIBatchDesk(root, _key(section), section.timeout_s, http)


def _batched(
    single: LedgeredTeacher, section: TeacherSection, batch: BatchSection, url: str, ledger: Ledger, budget: Budget
) -> BatchedTeacher:
    return BatchedTeacher(
        single=single,
        desk=open_desk(section, url),
        wire=wire_of(section),
        ledger=ledger,
        budget=budget,
        price=price_of(section),
        section=batch,
        retry=RetryPolicy(section.max_attempts, tuple(section.backoff_s)),
    )


def _hire(
    section: TeacherSection, loopback_url: str, ledger: Ledger, budget: Budget, limiter: Limiter
) -> LedgeredTeacher:
    wire = wire_of(section)
    return LedgeredTeacher(
        provider=section.label,
        model=section.model,
        wire=wire,
        transport=_transport(section, wire, loopback_url),
        ledger=ledger,
        budget=budget,
        limiter=limiter,
        retry=RetryPolicy(section.max_attempts, tuple(section.backoff_s)),
        price=price_of(section),
        in_flight=section.in_flight,
    )


def wire_of(section: TeacherSection) -> AnthropicWire | OpenAIWire:
    """How a teacher's requests and replies look as bytes."""
    return AnthropicWire() if section.wire == "anthropic" else OpenAIWire(newer_names=section.label == "openai")


def _transport(section: TeacherSection, wire: AnthropicWire | OpenAIWire, loopback_url: str) -> Transport:
    if section.wire == "procedural":
        return LocalTransport(Mind())
    key, http = _key(section), section.allow_loopback_http or section.base_url == "loopback"
    return HttpTransport(_root(section, loopback_url), wire.headers(key), section.timeout_s, http, hide=key)


def _root(section: TeacherSection, loopback_url: str) -> str:
    """The API root; the embedded provider's where the recipe says loopback."""
    if section.base_url != "loopback":
        return section.base_url
    return loopback_url if section.wire == "anthropic" else f"{loopback_url}/v1"


def _key(section: TeacherSection) -> str:
    """The key by its variable, or "" where the recipe names none. Raises InputError key-missing."""
    if not section.api_key_env:
        return ""
    key = key_for(section.api_key_env)
    if not key:
        raise InputError("key-missing", section.api_key_env)
    return key
