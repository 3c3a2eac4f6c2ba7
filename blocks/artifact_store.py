"""ArtifactStore: a folder or an S3 bucket that versions of datasets, and later models, are published to."""

from __future__ import annotations

from typing import Any

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from cogumi.store.versions import Versions


class ArtifactStore(Block):
    """Where artifacts lie. Name the block in a request's `versions` as "block:NAME"."""

    _block_type_name = "cogumi artifact store"
    _block_type_slug = "cogumi-artifact-store"
    _description = "Folder or S3 bucket for published artifacts; the store must honour If-None-Match on puts."

    url: str = Field("datasets", description="a folder, or s3://bucket/prefix")
    access_key_id: str = Field("", description="empty: whatever the environment or the machine's role gives")
    secret_access_key: SecretStr = Field(SecretStr(""), description="belongs to access_key_id")
    endpoint_url: str = Field("", description="for S3 servers other than AWS")
    region: str = Field("", description="region of the bucket; empty: the environment's")

    def versions(self, name: str) -> Versions:
        """The versions of one dataset in this store. Raises InputError version-name-refused."""
        return Versions(self.url, name, self.options())

    def options(self) -> dict[str, Any]:
        """What fsspec needs to open the store."""
        if not self.url.startswith("s3://"):
            return {}
        client = {"endpoint_url": self.endpoint_url, "region_name": self.region}
        options: dict[str, Any] = {"client_kwargs": {name: value for name, value in client.items() if value}}
        if self.access_key_id:
            options |= {"key": self.access_key_id, "secret": self.secret_access_key.get_secret_value()}
        return options
