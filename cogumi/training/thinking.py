"""When a model thinks: the share of answers that begin with a draft, by difficulty, before and after training.

    shares = thinking({"base": base, "merged": merged}, asked, tokenizer)

Teachers answer easy questions directly and hard ones with a draft, thinking and a response (`lm.chat`); a model trained
on both learns when to do which, and that is measured, not assumed. Greedy answers to prompts that nothing was trained
on; their beginning decides. Intervals are Wilson's (1927), 95%.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import LlamaForCausalLM

from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.metrics.statistics import wilson
from cogumi.phases import within
from cogumi.training.clusters import Item
from cogumi.training.draft.answers import prompt_of
from cogumi.training.writing import Writing, write_answers

DRAFT = "<draft>"
_OPENING = 24  # tokens: enough for the sign, whatever the tokenizer
_MOST = 200  # prompts of a difficulty


Prompts = Mapping[str, Sequence[list[int]]]
"""By difficulty."""


def prompts_of(items: Sequence[Item]) -> Prompts:
    """The prompts of rows by difficulty, at most 200 of each."""
    found: dict[str, list[list[int]]] = {}
    for item in items:
        found.setdefault(item.task.rpartition("/")[2], []).append(prompt_of(item.example))
    return {difficulty: prompts[:_MOST] for difficulty, prompts in sorted(found.items())}


def thinking(
    models: Mapping[str, Callable[[], LlamaForCausalLM]], asked: Prompts, tokenizer: TrainingTokenizer
) -> list[dict[str, Any]]:
    """A row for each model and difficulty: prompts, the share of answers with a draft, its interval, and the share of
    direct ones. Models are opened one after the other.
    """
    found = []
    for name, opened in models.items():
        model = opened()
        for difficulty, prompts in asked.items():
            with within(f"{name}, {difficulty}"):
                rows = write_answers(model, prompts, Writing(_OPENING, 0.0, 0), tokenizer)
            texts = [tokenizer.decode(row.ids[len(prompt) :]) for row, prompt in zip(rows, prompts, strict=True)]
            thinks = sum(text.lstrip().startswith(DRAFT) for text in texts)
            low, high = wilson(thinks, len(prompts))
            found.append({
                "model": name, "difficulty": difficulty, "prompts": len(prompts), "thinks": thinks / len(prompts),
                "thinks_ci95": [low, high], "direct": 1 - thinks / len(prompts),
            })  # fmt: skip
        del model
    return found
