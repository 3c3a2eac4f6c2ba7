"""PinnedStore: where Prefect keeps task results. It refuses every record that is not plain JSON.

A stored record names its own serializer, so without this whoever can write the results folder could make a worker
unpickle what they like. Refused and missing records are cache misses: the task runs again, and the ledger sees to it
that nothing is bought again.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
from typing import Any

from prefect.filesystems import WritableFileSystem
from prefect.serializers import JSONSerializer
from prefect.types import SecretDict
from pydantic import Field, PrivateAttr

from cogumi.store.objects import ObjectStore

PLAIN_JSON: JSONSerializer[Any] = JSONSerializer(object_encoder=None, object_decoder=None)
"""The only serializer whose records are read back: no encoder, no decoder, nothing that names code."""


class PinnedStore(WritableFileSystem):
    """Results under a folder or bucket prefix (any fsspec URL)."""

    _block_type_name = "cogumi pinned store"
    _block_type_slug = "cogumi-pinned-store"

    basepath: str = Field(description="folder or fsspec URL that holds the records")
    options: SecretDict = Field(SecretDict({}), description="what fsspec needs to open it, keys among them")
    _objects: ObjectStore | None = PrivateAttr(None)

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """A record's bytes. Raises ValueError for one that is not plain JSON, FileNotFoundError for none."""
        data = self._store().get(_inside(path))
        refuse_unless_plain(data)
        return data

    async def aread_path(self, path: str) -> bytes:
        return await asyncio.to_thread(self.read_path, path)

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        """Write a record, whole or not at all. Raises StorageError."""
        self._store().put(_inside(path), content)

    async def awrite_path(self, path: str, content: bytes) -> None:
        await asyncio.to_thread(self.write_path, path, content)

    def _store(self) -> ObjectStore:
        if self._objects is None:
            self._objects = ObjectStore(self.basepath, self.options.get_secret_value())
        return self._objects


def _inside(path: str) -> str:
    inner = posixpath.normpath(path)
    if inner.startswith(("/", "..")):
        raise ValueError(f"a result key leaves the store: {path!r}")
    return inner


def refuse_unless_plain(data: bytes) -> None:
    """Raise ValueError unless a stored record says that it is plain JSON."""
    try:
        serializer = json.loads(data)["metadata"]["serializer"]
        plain = (
            serializer.get("type") == "json"
            and serializer.get("jsonlib") == "json"
            and serializer.get("object_decoder") is None
            and not serializer.get("loads_kwargs")
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a result record that cannot be read: {error!r}") from None
    if not plain:
        raise ValueError("refusing a result record that is not plain JSON")
