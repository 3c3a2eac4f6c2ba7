"""The object store against a real S3 server behind a proxy that fails up to half of all requests, and in a folder."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from cogumi.errors import StorageError
from cogumi.store.objects import ObjectStore, put_twice
from cogumi.store.versions import Versions
from tests.s3_faults import AFTER, BEFORE, faulty_s3
from tests.unit.store.test_versions import artifact

FAST = {"attempts": 40, "first_wait_s": 0.001}


def through(endpoint: str) -> dict[str, object]:
    return {"client_kwargs": {"endpoint_url": endpoint}, "key": "x", "secret": "x"}


def bucket(name: str) -> str:
    return f"s3://cogumi-test/{name}-{uuid4().hex[:8]}"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_what_is_put_is_there_whatever_fails_on_the_way(s3_endpoint: str, tmp_path: Path, share: float) -> None:
    rng = Random(int(share * 10))
    with faulty_s3(s3_endpoint, share, seed=int(share * 10)) as proxy:
        store = ObjectStore(bucket("put"), through(proxy.url), **FAST)  # type: ignore[arg-type]
        contents = {f"a/{n}.bin": rng.randbytes(rng.choice([1, 1000, 200_000])) for n in range(12)}
        for path, content in contents.items():
            store.put(path, content)
        assert store.names("a") == sorted(path.split("/")[1] for path in contents)
        for path, content in contents.items():
            assert store.get(path) == content
            store.get_file(path, tmp_path / path, hashlib.sha256(content).hexdigest())
            assert (tmp_path / path).read_bytes() == content
        assert store.names("nothing-here") == []
        if share:
            assert sum(proxy.met.values()) - proxy.met[""] > 20 * share


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_large_file_goes_in_parts(s3_endpoint: str, tmp_path: Path, share: float) -> None:
    part = 5 * 2**20
    source = tmp_path / "large.bin"
    source.write_bytes(Random(1).randbytes(2 * part + 4096))
    with faulty_s3(s3_endpoint, share, seed=3) as proxy:
        store = ObjectStore(bucket("parts"), through(proxy.url), **FAST)  # type: ignore[arg-type]
        store.put_file("large.bin", source, part_bytes=part)
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
        store.get_file("large.bin", tmp_path / "back.bin", sha256)
    assert (tmp_path / "back.bin").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("kind", AFTER)
def test_a_create_whose_answer_was_lost_is_still_ours(s3_endpoint: str, kind: str) -> None:
    """Every second answer is lost after the work was done: the second try is told that the object exists."""
    with faulty_s3(s3_endpoint, 0.5, seed=1, kinds=(kind,)) as proxy:
        store = ObjectStore(bucket("lost"), through(proxy.url), **FAST)  # type: ignore[arg-type]
        for number in range(10):
            assert store.create(f"{number}.json", b"mine %d" % number)
            assert not store.create(f"{number}.json", b"another's")
            assert store.get(f"{number}.json") == b"mine %d" % number
        assert proxy.met[kind] > 5


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_of_eight_writers_one_creates(s3_endpoint: str, share: float) -> None:
    url = bucket("race")
    with faulty_s3(s3_endpoint, share, seed=5) as proxy:
        for round_number in range(2):
            ready = threading.Barrier(8)

            def create(writer: int, name: str = f"{round_number}.json", ready: threading.Barrier = ready) -> bool:
                store = ObjectStore(url, through(proxy.url), **FAST)  # type: ignore[arg-type]
                ready.wait()
                return store.create(name, b"writer %d" % writer)

            with ThreadPoolExecutor(8) as pool:
                won = list(pool.map(create, range(8)))
            assert sum(won) == 1
            winner = ObjectStore(url, through(proxy.url), **FAST).get(f"{round_number}.json")  # type: ignore[arg-type]
            assert winner == b"writer %d" % won.index(True)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_versions_are_published_whole_or_not_at_all_on_a_store_that_fails(
    s3_endpoint: str, tmp_path: Path, share: float
) -> None:
    root = bucket("versions")
    with faulty_s3(s3_endpoint, share, seed=7) as proxy:
        for number in range(3):
            made = Versions(root, "weekly", through(proxy.url))
            made._store._attempts, made._store._first_wait_s = 40, 0.001
            assert (
                made.publish(artifact(tmp_path / f"a{number}", f"rows {number}"), f"run-{number}").number == number + 1
            )
        assert [version.run for version in made.all()] == ["run-0", "run-1", "run-2"]
        for number in range(3):
            fetched = made.fetch(str(number + 1), tmp_path / f"back{number}")
            assert f"rows {number}" in (fetched / "training_1_complete.jsonl").read_text()


def test_a_publisher_that_gives_up_has_published_nothing(s3_endpoint: str, tmp_path: Path) -> None:
    """Whatever it had put before, there is no version until the manifest is there."""
    root = bucket("gave-up")
    with faulty_s3(s3_endpoint, 1.0, seed=2, kinds=("internal",)) as proxy:
        made = Versions(root, "weekly", through(proxy.url))
        made._store._attempts, made._store._first_wait_s = 3, 0.001
        with pytest.raises(StorageError, match=r"store-unreachable.*InternalError 3 times"):
            made.publish(artifact(tmp_path / "a", "rows"), "run-0")
    assert Versions(root, "weekly", through(s3_endpoint)).all() == []


def test_an_expired_token_is_asked_for_anew(s3_endpoint: str) -> None:
    with faulty_s3(s3_endpoint, 0.5, seed=4, kinds=("expired",)) as proxy:
        store = ObjectStore(bucket("expired"), through(proxy.url), **FAST)  # type: ignore[arg-type]
        before = store._fs
        for number in range(10):
            store.put(f"{number}", b"x")
        assert proxy.met["expired"] > 3 and store._fs is not before, "a new client reads the credentials again"


def test_a_store_that_refuses_is_not_asked_again(s3_endpoint: str) -> None:
    BEFORE["denied"] = (403, "AccessDenied")
    try:
        with faulty_s3(s3_endpoint, 1.0, kinds=("denied",)) as proxy:
            store = ObjectStore(bucket("denied"), through(proxy.url), **FAST)  # type: ignore[arg-type]
            with pytest.raises(StorageError, match=r"store-refused.*AccessDenied"):
                store.put("x", b"x")
            assert proxy.met["denied"] == 1
    finally:
        del BEFORE["denied"]


def test_a_missing_bucket_and_a_dead_endpoint_are_said(s3_endpoint: str) -> None:
    with pytest.raises(StorageError, match=r"store-refused.*NoSuchBucket"):
        ObjectStore("s3://no-such-bucket-here/x", through(s3_endpoint), **FAST).put("x", b"x")  # type: ignore[arg-type]
    dead = ObjectStore("s3://b/x", through("http://127.0.0.1:1"), attempts=3, first_wait_s=0.001)
    with pytest.raises(StorageError, match="store-unreachable"):
        dead.put("x", b"x")


def test_damage_is_found_on_reading_and_no_file_is_left(s3_endpoint: str, tmp_path: Path) -> None:
    for store in (ObjectStore(str(tmp_path / "folder")), ObjectStore(bucket("damage"), through(s3_endpoint))):
        store.put("x", b"other bytes")
        with pytest.raises(StorageError, match="artifact-damaged"):
            store.get_file("x", tmp_path / "out", hashlib.sha256(b"bytes").hexdigest())
        assert not (tmp_path / "out").exists()
        with pytest.raises(FileNotFoundError):
            store.get("not-there")


def test_the_doctor_tells_a_store_that_keeps_the_first_put(s3_endpoint: str, tmp_path: Path) -> None:
    for store in (ObjectStore(str(tmp_path)), ObjectStore(bucket("doctor"), through(s3_endpoint))):
        assert put_twice(store, "probe")
        assert store.names("") == [], "its trace is removed"
    forgetful = ObjectStore(str(tmp_path))
    forgetful.create = lambda path, content: (forgetful.put(path, content), True)[1]  # type: ignore[method-assign]
    assert not put_twice(forgetful, "probe")
