"""What the Prefect server stores; each block returns a library object. `prefect block register -m blocks` knows all."""

from prefect.blocks.core import Block

from blocks.artifact_store import ArtifactStore
from blocks.pinned_store import PinnedStore
from blocks.provider import ProviderCredentials
from blocks.recipe import RecipeBlock

BLOCKS: tuple[type[Block], ...] = (ProviderCredentials, ArtifactStore, RecipeBlock, PinnedStore)

__all__ = ["BLOCKS", "ArtifactStore", "PinnedStore", "ProviderCredentials", "RecipeBlock"]
