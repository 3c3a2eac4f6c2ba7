"""Provider limits: what all runs of a site may ask of a provider together, leased from the server.

A limit `provider-NAME` has ten slots, each a tenth of the rate. A run takes its share of them for as long as it lasts,
and its token buckets hold that share of the recipe's RPM and TPM. Nothing is asked of the server for a single request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import concurrency
from prefect.exceptions import ObjectNotFound

from cogumi.recipe import Recipe, TeacherSection, load_recipe, preset_names

SLOTS = 10
_LEASE_S = 60.0  # what a killed run holds on to


def limit_name(provider: str) -> str:
    return f"provider-{provider}"


async def make_limits(client: PrefectClient) -> None:
    """A limit for every provider of the presets; one that is there stays as somebody has set it."""
    presets = [load_recipe(name) for name in preset_names()]
    for provider in sorted({teacher.label for preset in presets for teacher in _limited(preset).values()}):
        try:
            await client.read_global_concurrency_limit_by_name(limit_name(provider))
        except ObjectNotFound:
            made = GlobalConcurrencyLimitCreate(name=limit_name(provider), limit=SLOTS)
            await client.create_global_concurrency_limit(made)


@asynccontextmanager
async def leased(recipe: Recipe, share: float) -> AsyncIterator[Recipe]:
    """The recipe with the rates that this run may use; waits until its share is free.

    Providers without a limit on the server, and teachers without RPM and TPM in the recipe, are left as they are.
    """
    granted: dict[str, float] = {}
    async with AsyncExitStack() as leases:
        for provider in sorted({teacher.label for teacher in _limited(recipe).values()}):
            slots = await _slots(provider)
            if slots:
                taken = max(1, round(share * slots))
                await leases.enter_async_context(
                    concurrency(limit_name(provider), occupy=taken, lease_duration=_LEASE_S)
                )
                granted[provider] = taken / slots
        yield scaled(recipe, granted)


def scaled(recipe: Recipe, granted: dict[str, float]) -> Recipe:
    """The recipe with RPM and TPM of each provider's teachers times what was granted of it."""
    changed = {
        name: teacher.model_copy(
            update={
                "rpm": teacher.rpm and teacher.rpm * granted[teacher.label],
                "tpm": teacher.tpm and teacher.tpm * granted[teacher.label],
            }
        )
        for name, teacher in _limited(recipe).items()
        if teacher.label in granted
    }
    return recipe.model_copy(update={"teachers": {**recipe.teachers, **changed}})


def _limited(recipe: Recipe) -> dict[str, TeacherSection]:
    """The teachers whose rate the recipe names; those in process have none."""
    return {name: t for name, t in recipe.teachers.items() if t.wire != "procedural" and (t.rpm or t.tpm)}


async def _slots(provider: str) -> int:
    """How many slots the provider's limit has; 0 where the server knows none."""
    async with get_client() as client:
        try:
            found = await client.read_global_concurrency_limit_by_name(limit_name(provider))
        except ObjectNotFound:
            return 0
    return found.limit if found.active else 0
