"""The model card of a merged model: README.md with front matter, its data, its table and its licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cogumi.metrics.formatting import estimate, number, percent
from cogumi.training.figures import held_out_prompts, held_out_tasks

LLAMA = "meta-llama/"
_LICENCES = {"meta-llama/Llama-3.1": "llama3.1", "meta-llama/Llama-3.2": "llama3.2", "TinyLlama/": "apache-2.0",
             "Qwen/Qwen2.5-0.5B": "apache-2.0"}  # fmt: skip
_CARD = """---
base_model: {base}
library_name: transformers
pipeline_tag: text-generation
license: {licence}
---

# {name}

{base} with an adapter folded in by cogumi.

## Training

{training}

## Merge

{merging}

## Licence

{notice}
"""
_NOTICE = """Built with Llama. {name} is licensed under the {title} Community License, Copyright (c) Meta Platforms,
Inc. All Rights Reserved. That licence asks whoever hands the model on to pass a copy of it along, to show "Built with
Llama", and to let the model's name begin with "Llama"; the acceptable use policy of {title} holds for it."""


def model_card(name: str, base: str, adapter: Mapping[str, Any] | None, figures: Mapping[str, Any]) -> str:
    """Markdown.

    Args:
        base: the id of the base model.
        adapter: the receipt of the adapter; None where it has none.
        figures: of merging and its check, as `cogumi merge --json` tells them.
    """
    return _CARD.format(
        name=name,
        base=base,
        licence=licence_of(base),
        training="The adapter has no receipt: where it comes from is not known."
        if adapter is None
        else trained_text(adapter),
        merging=_merged(figures),
        notice=notice_of(name, base),
    )


def licence_of(base: str) -> str:
    """As hubs name it, by the id of the base; `other` where it is not known."""
    return next((known for prefix, known in _LICENCES.items() if base.startswith(prefix)), "other")


def notice_of(name: str, base: str) -> str:
    """What the base's licence asks to be said of a model that stands on it."""
    if base.startswith(LLAMA):
        return _NOTICE.format(name=name, title=licence_of(base).replace("llama", "Llama "))
    return f"That of {base}, on which it stands."


def trained_text(receipt: Mapping[str, Any]) -> str:
    """Data and figures, as the receipt has them; a table where it compares models."""
    told, table = receipt["metrics"], ""
    made = f"Made by `{receipt['stage']}`, seed {receipt['seed']}, inputs `{receipt['inputs']}`"
    parts = [f"{made} (a hash of rows, base and settings)."]
    if "examples" in told:
        gain = told["gain_mean"]
        helped = f"left out in turn, one gains {number(gain, '+.3f')} nats per token"
        helped = "no gain was asked for" if gain is None else helped
        parts.append(f"Adapted to {told['examples']} examples of one task: {helped}.")
    if "algorithm" in told:
        parts.append(f"Dataset: `{told['dataset']}`. Algorithm: {told['algorithm']}, {told['steps']} steps.")
    if "table" in told:
        of = held_out_tasks(told)
        rows = "\n".join(
            f"| {row['model']}, {row['way']} | {number(row['loss'], '.3f', of)} | "
            f"{estimate(row['gain'], row['gain_ci95'], '+.3f', of)} |"
            for row in told["table"]
        )
        parts.append(f"Verdict: {told['verdict']}.")
        title = f"Nats a response token over {told['episodes']} held-out episodes; intervals of 95% by task:"
        table = f"\n\n{title}\n\n| Model and use | loss | gain |\n|---|---|---|\n{rows}"
    return " ".join(parts) + table


def _merged(figures: Mapping[str, Any]) -> str:
    parts = [
        f"{figures['targets']} tensors are W + s B A, with an error of at most "
        f"{number(figures['merge_max_rel_err'], '.2g')} of the largest entry; {figures['untouched']} are the base's, "
        "bit for bit."
    ]
    if "rows" in figures:
        parts.append(
            f"On {figures['rows']} held-out rows it differs from base and adapter in fp32 by "
            f"{number(figures['kl'], '.2g')} nats of KL divergence and in {percent(figures['argmax'], '.2%')} of its "
            f"first choices; base and adapter in the precision that is stored, by "
            f"{number(figures['kl_unmerged'], '.2g')} and {percent(figures['argmax_unmerged'], '.2%')}."
        )
    for row in figures.get("thinking", []):
        if row["model"] == "merged":
            of = held_out_prompts(row)
            parts.append(
                f"Of {row['prompts']} held-out {row['difficulty']} questions it answers "
                f"{percent(row['direct'], of=of)} directly, {percent(row['thinks'], of=of)} with a draft and thinking."
            )
    return " ".join(parts)
