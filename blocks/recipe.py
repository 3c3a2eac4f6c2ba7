"""RecipeBlock: a preset with changes of a team's own, kept on the server, so that forms stay short."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field

from cogumi.recipe import Recipe, load_recipe


class RecipeBlock(Block):
    """A recipe by preset and overrides. Name the block in a request's `recipe_block`."""

    _block_type_name = "cogumi recipe"
    _block_type_slug = "cogumi-recipe"
    _description = "A preset with overrides, KEY=VALUE, checked whenever it is used. Keys never belong in it."

    preset: str = Field("tiny", description="name of a preset, or a path to a YAML file on the workers")
    overrides: list[str] = Field(default_factory=list, description="changes to the preset, KEY=VALUE")

    def recipe(self) -> Recipe:
        """The checked recipe. Raises InputError recipe-bad-value and the like."""
        return load_recipe(self.preset, self.overrides)
