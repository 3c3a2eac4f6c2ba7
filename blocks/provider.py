"""ProviderCredentials: a provider's key, kept encrypted by the server and given to a run for as long as it lasts."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from cogumi.teachers.keys import Credential


class ProviderCredentials(Block):
    """The key of a teacher's provider. Name the block in a request's `credentials`."""

    _block_type_name = "cogumi provider credentials"
    _block_type_slug = "cogumi-provider-credentials"
    _description = "Key of a provider of teachers (OpenRouter, OpenAI, Anthropic, your own server)."

    variable: str = Field(
        description="the api_key_env of the recipe's teachers that this key is for, such as OPENROUTER_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )
    key: SecretStr = Field(description="the key itself; shown to nobody")

    def credential(self) -> Credential:
        """What the library takes."""
        return Credential(self.variable, self.key.get_secret_value())
