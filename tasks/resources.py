"""What a request names on the server: credentials, recipe and artifact store blocks, resolved before a run starts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect.blocks.core import Block
from prefect.types import SecretDict

from blocks.artifact_store import ArtifactStore
from blocks.pinned_store import PinnedStore
from blocks.provider import ProviderCredentials
from blocks.recipe import RecipeBlock
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import InputError
from cogumi.store.versions import Versions
from cogumi.teachers.keys import Credential

BLOCK = "block:"
Kind = TypeVar("Kind", bound=Block)


async def with_recipe_block(request: DatasetRequest) -> DatasetRequest:
    """The request with the preset and overrides of its recipe block, its own overrides last."""
    if not request.recipe_block:
        return request
    block = await _loaded(RecipeBlock, request.recipe_block)
    block.recipe()
    return request.model_copy(
        update={"recipe": block.preset, "overrides": [*block.overrides, *request.overrides], "recipe_block": ""}
    )


async def credentials(request: DatasetRequest) -> list[Credential]:
    """The keys that the request names by block."""
    return [(await _loaded(ProviderCredentials, name)).credential() for name in request.credentials]


async def open_versions(request: DatasetRequest) -> Versions | None:
    """The versions that the result joins, in a store named by block or by URL; None where there are none."""
    if not request.dataset or not request.versions.startswith(BLOCK):
        return request.open_versions()
    return (await _loaded(ArtifactStore, request.versions.removeprefix(BLOCK))).versions(request.dataset)


async def results_store(folder: Path, place: str = "") -> PinnedStore:
    """Where a run's task results go, saved on the server so that Prefect may name it: the run's folder, or `place`."""
    options: dict[str, Any] = {}
    if place.startswith(BLOCK):
        block = await _loaded(ArtifactStore, place.removeprefix(BLOCK))
        place, options = block.url, block.options()
    store = PinnedStore(basepath=place or str(folder / "prefect-results"), options=SecretDict(options))
    name = f"run-{hashlib.sha256(f'{folder} {place}'.encode()).hexdigest()[:12]}"
    await store.asave(name, overwrite=True)
    return store


def open_store(store: str, name: str) -> Versions:
    """The versions of a dataset or model in a store named by block or by URL, for flows that are not async."""
    if not store.startswith(BLOCK):
        return Versions(store, name)
    block = store.removeprefix(BLOCK)
    try:
        loaded: Any = ArtifactStore.load(block, _sync=True)  # type: ignore[call-arg]
    except ValueError as error:
        raise _unknown(ArtifactStore, block, error) from None
    return cast(ArtifactStore, loaded).versions(name)


async def _loaded(kind: type[Kind], name: str) -> Kind:
    """A block by its name. Raises InputError block-unknown."""
    try:
        return await kind.aload(name)
    except ValueError as error:
        raise _unknown(kind, name, error) from None


def _unknown(kind: type[Block], name: str, error: ValueError) -> InputError:
    return InputError("block-unknown", f"{kind.get_block_type_slug()}/{name}: {str(error)[:200]}")
