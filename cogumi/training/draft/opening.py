"""What a draft's training begins with: the model, with the target's words, and the rows.

opened = open_draft(recipe, target_folder)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM

from cogumi.errors import InputError
from cogumi.lm.chat import FORMATS, Encoded
from cogumi.lm.model import load_as_llama, load_chat_tokenizer, model_folder
from cogumi.lm.pieces import read_pieces
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.recipe import DraftSection, Recipe
from cogumi.store.files import read_json
from cogumi.training.base import shaped
from cogumi.training.claim import draft_section_of
from cogumi.training.clusters import Item, read_items
from cogumi.training.draft.transplant import spelling, transplanted
from cogumi.training.pretrain import new_llama

_FAMILIES = ("llama", "qwen2")


@dataclass(frozen=True, slots=True)
class Opening:
    """The target's tokenizer, and the draft's own folder where it is not made from nothing."""

    section: DraftSection
    target: Path
    given: Path | None
    tokenizer: TrainingTokenizer
    seed: int

    @property
    def models(self) -> list[Path]:
        """Folders of the models that take part."""
        return [self.target, *([self.given] if self.given else [])]

    def model(self) -> tuple[LlamaForCausalLM, dict[str, Any]]:
        """fp32 weights on the CPU, all of them to be trained; one from nothing has the target's words and positions,
        one of other words gets the target's. And what was done to its words, for the stage's figures.
        """
        config = read_json(self.target / "config.json")
        words, positions = int(config["vocab_size"]), int(config["max_position_embeddings"])
        if self.given is None:
            return new_llama(shaped(self.section, words, positions, self.tokenizer), self.seed), {}
        donor, theirs, ours = load_as_llama(self.given), read_pieces(self.given), read_pieces(self.target)
        if donor.config.vocab_size == words and theirs.vocabulary == ours.vocabulary:
            return donor.requires_grad_(True), {}
        how = spelling(theirs, ours, words)
        told = {"transplant": {**how.counts, "mean_pieces": round(how.mean_pieces, 2)}}
        return transplanted(donor, how).requires_grad_(True), told

    def imitated(self, rows: list[Item]) -> list[Encoded]:
        """Teacher rows as they are learned. A model from nothing learns the prompts too: its loss is on every token but
        the first.
        """
        if self.given is not None:
            return [row.example for row in rows]
        return [Encoded(row.example.ids, [0] + [1] * (len(row.example.ids) - 1)) for row in rows]


def open_draft(recipe: Recipe, target: str) -> Opening:
    """Raises InputError stage-not-in-recipe, and as model_folder and load_chat_tokenizer."""
    section, place = draft_section_of(recipe), model_folder(target)
    given = model_folder(section.model, section.revision, _FAMILIES) if section.model else None
    tokenizer = load_chat_tokenizer(place, int(read_json(place / "config.json")["vocab_size"]))
    return Opening(section, place, given, tokenizer, recipe.seed)


def rows_of(recipe: Recipe, dataset: Path, tokenizer: TrainingTokenizer, part: str) -> list[Item]:
    """Of a part of a dataset, all that are not too long. Raises InputError example-too-long where that is none."""
    form, most = FORMATS[recipe.dataset.chat_format], draft_section_of(recipe).max_seq_length
    found = read_items(dataset, tokenizer, form, most, parts=(part,), drop_long=True)
    if not found:
        raise InputError("example-too-long", f"every row of {part} has more than draft.max_seq_length = {most} tokens")
    return found
