"""What runs share through the server and through Redis: a provider's rate, and the making of a result."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.concurrency.asyncio import concurrency
from prefect.transactions import IsolationLevel

from blocks.pinned_store import PLAIN_JSON, PinnedStore
from cogumi.dataset.request import DatasetRequest
from cogumi.recipe import load_recipe
from flows.generate_dataset import generate_dataset
from tasks.caching import ContentKey
from tasks.provider_limits import SLOTS, leased, limit_name, make_limits, scaled
from tasks.redis_locks import RedisLocks

pytestmark = pytest.mark.flows
TTL_S = 3.0


def recipe(provider: str) -> object:
    names = ("questioner", "judge", "answerer")
    rates = [f"teachers.{name}.{key}={value}" for name in names for key, value in (("rpm", 60), ("tpm", 1000))]
    return load_recipe("tiny", [*rates, *(f"teachers.{name}.provider={provider}" for name in names)])


async def until(is_so: Callable[[], bool]) -> None:
    """Waits for as long as a busy machine may need."""
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.05)


async def test_runs_together_get_at_most_the_whole_rate_and_wait_for_their_share() -> None:
    async with get_client() as client:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="provider-shared", limit=4))
    order: list[str] = []
    enough = asyncio.Event()

    async def run(name: str, share: float) -> float:
        async with leased(recipe("shared"), share) as granted:  # type: ignore[arg-type]
            order.append(f"{name} begins")
            await enough.wait()
            order.append(f"{name} ends")
        assert granted.teachers["thinker"].rpm is None, "a teacher whose rate the recipe does not name"
        return float(granted.teachers["judge"].rpm or 0)

    runs = [asyncio.create_task(run(name, share)) for name, share in (("half", 0.5), ("quarter", 0.25))]
    await until(lambda: len(order) == 2)
    assert set(order) == {"half begins", "quarter begins"}
    runs.append(asyncio.create_task(run("whole", 1)))
    await asyncio.sleep(2)
    assert len(order) == 2, "a quarter is free, and it asks for the whole"
    enough.set()
    assert await asyncio.wait_for(asyncio.gather(*runs), 60) == [30, 15, 60]
    assert order[-2:] == ["whole begins", "whole ends"]


async def test_a_run_waits_until_its_share_is_free_and_then_holds_it(tmp_path: Path) -> None:
    """Through the flow: nothing is asked of the provider before, and the slots are held while it runs."""
    async with get_client() as client:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="provider-loopback", limit=2))
    overrides = ["teachers.judge.rpm=60000", "dataset.cells={math: {easy: 3}}", "loopback.latency_s=0.5"]
    request = DatasetRequest(run="waits", root=str(tmp_path), overrides=overrides, rate_share=0.5)
    bill = tmp_path / "waits" / "provider_bill.tsv"
    async with concurrency("provider-loopback", occupy=2):
        running = asyncio.create_task(generate_dataset(request))
        await until((tmp_path / "waits" / "run.json").exists)
        await asyncio.sleep(3)
        assert not bill.exists()
    held = set()
    while not running.done():
        async with get_client() as client:
            held.add((await client.read_global_concurrency_limit_by_name("provider-loopback")).active_slots)
        await asyncio.sleep(0.1)
    assert (await running)["rows"] == 3 and max(held) == 1
    async with get_client() as client:
        await client.delete_global_concurrency_limit_by_name("provider-loopback")


async def test_a_provider_that_the_server_does_not_know_keeps_the_recipes_rate() -> None:
    async with leased(recipe("nowhere"), 0.5) as granted:  # type: ignore[arg-type]
        assert granted.teachers["judge"].rpm == 60
    assert scaled(granted, {"nowhere": 0.5}).teachers["judge"].tpm == 500


async def test_limits_are_made_for_the_presets_and_what_is_set_stays() -> None:
    async with get_client() as client:
        await make_limits(client)
        made = [limit for limit in await client.read_global_concurrency_limits() if limit.name.startswith("provider-")]
        assert {limit.limit for limit in made if limit.name != "provider-shared"} == {SLOTS}
        assert limit_name("openrouter") in {limit.name for limit in made}
        await client.update_global_concurrency_limit(limit_name("openrouter"), GlobalConcurrencyLimitUpdate(limit=7))
        await make_limits(client)
        assert (await client.read_global_concurrency_limit_by_name(limit_name("openrouter"))).limit == 7


async def test_of_four_tasks_with_one_key_one_runs(redis_url: str, tmp_path: Path) -> None:
    """Control: without locks all four do."""
    ran: list[str] = []

    async def four(policy: object) -> list[dict[str, str]]:
        @task(cache_policy=policy, persist_result=True, result_serializer=PLAIN_JSON)  # type: ignore[arg-type]
        async def work(key: str) -> dict[str, str]:
            ran.append(key)
            await asyncio.sleep(1)
            return {"made": key}

        @flow(persist_result=False)
        async def together(key: str) -> list[dict[str, str]]:
            store = PinnedStore(basepath=str(tmp_path / key))
            await store.asave(f"locks-{key}", overwrite=True)
            asked = work.with_options(result_storage=store)
            return list(await asyncio.gather(*(asked(key=key) for _ in range(4))))

        return await asyncio.wait_for(together("locked" if policy is not plain else "unlocked"), 60)

    plain = ContentKey()
    locks = RedisLocks(redis_url)
    serial = ContentKey().configure(isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=locks)
    assert await four(plain) == [{"made": "unlocked"}] * 4 and ran.count("unlocked") == 4
    assert await four(serial) == [{"made": "locked"}] * 4 and ran.count("locked") == 1


def _hold(url: str) -> None:
    RedisLocks(url, ttl_s=TTL_S).acquire_lock("shard", "doomed")
    time.sleep(60)


def test_a_killed_holder_is_outlived_and_a_living_one_is_not(redis_url: str) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_hold, args=(redis_url,))
    child.start()
    locks = RedisLocks(redis_url, ttl_s=TTL_S)
    until = time.monotonic() + 30
    while not locks.is_lock_holder("shard", "doomed"):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert not locks.acquire_lock("shard", "other", acquire_timeout=2 * TTL_S), (
        "it is renewed for as long as its holder lives"
    )
    with pytest.raises(ValueError, match="no lock"):
        locks.release_lock("shard", "other")
    child.kill()
    child.join()
    assert locks.acquire_lock("shard", "other", acquire_timeout=20)
    assert locks.acquire_lock("shard", "other", acquire_timeout=0), "its own"
    locks.release_lock("shard", "other")
    assert locks.wait_for_lock("shard", 0) and not locks.is_locked("shard")
