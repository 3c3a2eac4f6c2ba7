"""Versions of a dataset or model: numbered, immutable, published all or nothing, in a folder or on S3 (fsspec).

    versions = Versions("s3://bucket/datasets", "weekly")
    number = versions.publish(Path("runs/weekly-2026-W47/dataset"), run="weekly-2026-W47")
    versions.fetch("latest", Path("here"))

    ROOT/NAME/data/HASH/...          the files, under the hash of their content
    ROOT/NAME/manifests/v0001.json   written last, by a conditional put: of two publishers one gets the number

A manifest that exists means that all its files exist (contract C5). `latest` is the highest manifest.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cogumi.errors import InputError, RunError, StorageError
from cogumi.recipe import content_hash
from cogumi.store.artifacts import RECEIPT, verify
from cogumi.store.files import sha256_of
from cogumi.store.objects import ObjectStore

VERSION_FILE = "version.json"
"""In a run's folder: which version it has published."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_MANIFEST = re.compile(r"v(\d{4,})\.json")
_MOST_RACES = 100


@dataclass(frozen=True, slots=True)
class Version:
    """One published version. `files` gives bytes and sha256 by name; `metrics` are the stage's figures."""

    number: int
    run: str
    data: str
    created: str
    files: dict[str, dict[str, Any]]
    metrics: dict[str, Any]

    @property
    def label(self) -> str:
        return f"v{self.number:04d}"


class Versions:
    """The versions of one dataset or model under a root. Raises StorageError where the store does not answer."""

    def __init__(self, root: str, name: str, options: dict[str, Any] | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise InputError("version-name-refused", repr(name))
        self.name = name
        self._store = ObjectStore(f"{root.rstrip('/')}/{name}", options)

    def all(self) -> list[Version]:
        """Every version, oldest first."""
        return [self._read(name) for name in self._store.names("manifests") if _MANIFEST.fullmatch(name)]

    def get(self, which: str = "latest") -> Version:
        """A version by number ("3", "v0003") or "latest". Raises RunError version-not-found."""
        found = self.all()
        wanted = which.removeprefix("v")
        chosen = [v for v in found if wanted.isdigit() and v.number == int(wanted)] if which != "latest" else found[-1:]
        if not chosen:
            raise RunError("version-not-found", f"{self.name} {which}; there are {[v.label for v in found]}")
        return chosen[0]

    def of_run(self, run: str) -> Version:
        """The newest version that a run has published. Raises RunError version-not-found."""
        found = self.all()
        chosen = [version for version in found if version.run == run]
        if not chosen:
            raise RunError("version-not-found", f"{self.name}, of run {run}; there are {[v.label for v in found]}")
        return chosen[-1]

    def publish(self, artifact: Path, run: str) -> Version:
        """Publish an artifact as the next version. The same content by the same run is published once.

        Raises StorageError artifact-damaged, disk-full, disk-error.
        """
        receipt = verify(artifact)
        files = {name: dict(entry) for name, entry in receipt["files"].items()}
        receipt_file = artifact / RECEIPT
        files[RECEIPT] = {"sha256": sha256_of(receipt_file), "bytes": receipt_file.stat().st_size}
        data = content_hash(files)  # of every byte: two runs with the same rows differ in receipt and card
        held = next((v for v in self.all() if v.run == run and v.data == data), None)
        if held is not None:
            return held
        for name in files:
            self._store.put_file(f"data/{data}/{name}", artifact / name)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._claim({"run": run, "data": data, "created": now, "files": files}, receipt["metrics"])

    def fetch(self, which: str, into: Path) -> Path:
        """Copy a version's files into a folder, those that are not there yet, and check them.

        Raises StorageError artifact-damaged.
        """
        version = self.get(which)
        for name, entry in version.files.items():
            held = into / name
            if not held.is_file() or sha256_of(held) != entry["sha256"]:
                self._store.get_file(f"data/{version.data}/{name}", held, entry["sha256"])
        verify(into)
        return into

    def read(self, version: Version, name: str) -> bytes:
        """One file of a version, checked against its manifest. Raises StorageError artifact-damaged."""
        content = self._store.get(f"data/{version.data}/{name}")
        if hashlib.sha256(content).hexdigest() != version.files[name]["sha256"]:
            raise StorageError("artifact-damaged", f"{self.name} {version.label}: {name}")
        return content

    def _claim(self, manifest: dict[str, Any], metrics: dict[str, Any]) -> Version:
        """Take the next free number by creating its manifest where there is none."""
        taken = self.all()
        number = taken[-1].number + 1 if taken else 1
        for _ in range(_MOST_RACES):
            version = Version(number=number, metrics=metrics, **manifest)
            body = orjson.dumps({**manifest, "number": number, "metrics": metrics}, option=orjson.OPT_INDENT_2)
            if self._store.create(f"manifests/{version.label}.json", body):
                return version
            number += 1
        raise StorageError("disk-error", f"{self.name}: {_MOST_RACES} others published first")

    def _read(self, name: str) -> Version:
        raw = orjson.loads(self._store.get(f"manifests/{name}"))
        return Version(**raw)
