"""Versions in a folder and on an S3 server: numbers are unique, manifests come last, damage is found."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cogumi.errors import InputError, RunError, StorageError
from cogumi.store.artifacts import new_artifact
from cogumi.store.files import create_exclusively, write_jsonl
from cogumi.store.versions import Versions


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket, and the environment that s3fs reads."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    for name, value in zip(names, ("x", "x", "us-east-1"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    return "s3://cogumi-test"


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "versions")
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def artifact(place: Path, content: str) -> Path:
    with new_artifact(place, "generate_dataset", f"hash-{content}", {}, 0) as draft:
        write_jsonl(draft.path / "training_1_complete.jsonl", [{"question": content}])
        write_jsonl(draft.path / "tokenizer" / "inner.jsonl", [{"x": 1}])
        draft.metrics["rows"] = 1
    return place


def test_versions_are_numbered_and_come_back_whole(root: str, tmp_path: Path) -> None:
    versions = Versions(root, "weekly")
    assert versions.all() == []
    one = versions.publish(artifact(tmp_path / "a", "one"), "run-1")
    two = versions.publish(artifact(tmp_path / "b", "two"), "run-2")
    assert [v.label for v in versions.all()] == ["v0001", "v0002"] == [one.label, two.label]
    assert versions.get() == two == versions.get("2") == versions.get("v0002")
    fetched = versions.fetch("1", tmp_path / "fetched")
    assert json.loads((fetched / "training_1_complete.jsonl").read_text()) == {"question": "one"}
    assert (fetched / "tokenizer" / "inner.jsonl").is_file() and versions.get("1").metrics == {"rows": 1}


def test_a_run_published_again_is_the_same_version(root: str, tmp_path: Path) -> None:
    versions = Versions(root, "weekly")
    first = versions.publish(artifact(tmp_path / "a", "one"), "run-1")
    assert versions.publish(tmp_path / "a", "run-1") == first
    assert len(versions.all()) == 1
    assert versions.publish(tmp_path / "a", "run-2").number == 2  # another run may come to the same rows


def test_the_same_rows_by_another_run_leave_the_first_version_as_it_is(root: str, tmp_path: Path) -> None:
    versions = Versions(root, "weekly")
    first = versions.publish(artifact(tmp_path / "a", "one"), "run-1")
    second = versions.publish(artifact(tmp_path / "b", "one"), "run-2")  # its receipt tells another time
    assert second.number == 2 and second.data != first.data
    for number in ("1", "2"):
        versions.fetch(number, tmp_path / number)


def test_of_many_at_once_each_gets_a_number_of_its_own(root: str, tmp_path: Path) -> None:
    places = [artifact(tmp_path / f"a{n}", f"content {n}") for n in range(8)]
    ready = threading.Barrier(8)

    def publish(number: int) -> int:
        ready.wait()
        return Versions(root, "raced").publish(places[number], f"run-{number}").number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(publish, range(8)))
    assert sorted(numbers) == list(range(1, 9))
    found = Versions(root, "raced").all()
    assert {v.run for v in found} == {f"run-{n}" for n in range(8)}
    for version in found:
        for name in version.files:
            Versions(root, "raced").read(version, name)


def test_damage_is_found_on_reading(root: str, tmp_path: Path) -> None:
    versions = Versions(root, "weekly")
    version = versions.publish(artifact(tmp_path / "a", "one"), "run-1")
    versions._store.put(f"data/{version.data}/training_1_complete.jsonl", b"{}")
    with pytest.raises(StorageError, match="artifact-damaged"):
        versions.fetch("latest", tmp_path / "fetched")


def test_what_is_not_there_or_cannot_be_a_name_is_refused(root: str) -> None:
    with pytest.raises(RunError, match="version-not-found"):
        Versions(root, "weekly").get()
    for name in ("", "../up", "Upper", "a/b", ".hidden"):
        with pytest.raises(InputError, match="version-name-refused"):
            Versions(root, name)


def test_exclusive_creation_leaves_what_was_there(tmp_path: Path) -> None:
    create_exclusively(tmp_path / "x", b"first")
    with pytest.raises(FileExistsError):
        create_exclusively(tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
