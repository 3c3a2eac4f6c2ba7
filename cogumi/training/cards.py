"""Cards of artifacts that have none of their own (adapter, draft, base), and what a licence asks of a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cogumi.metrics.formatting import interval, number
from cogumi.training.card import LLAMA, licence_of, notice_of, trained_text
from cogumi.training.figures import held_out_prompts, held_out_tasks

_CARD = """---
{base_line}library_name: {library}
pipeline_tag: text-generation
license: {licence}
---

# {name}

{what}

## Training

{training}

## Licence

{notice}
"""
_WHAT = {
    "train_models": "LoRA adapters for `{base}`, meta-trained by cogumi: a few examples of a new task adapt them.",
    "adapt": "LoRA adapters for `{base}`, adapted to one task by cogumi.",
    "train_draft": "A draft model for speculative decoding with `{base}`, made by cogumi. It proposes tokens; what is "
    "written is the target's.",
    "train_draft_sft": "A draft model for speculative decoding, trained by cogumi on teacher text alone.",
    "pretrain_base": "A small Llama, trained from nothing by cogumi to try the whole road out on.",
}


def card_of_artifact(name: str, receipt: Mapping[str, Any]) -> str:
    """Markdown with front matter, from the receipt alone."""
    origin, told = _origin(receipt), receipt["metrics"]
    base = told.get("base") or told.get("target") or ""
    stage = str(receipt["stage"])
    peft = stage in ("train_models", "adapt")
    return _CARD.format(
        base_line=f"base_model: {base}\n" if base else "",
        library="peft" if peft else "transformers",
        licence=licence_of(origin),
        name=name,
        what=_WHAT.get(stage, "An artifact of cogumi.").format(base=base),
        training=_TEXTS.get(stage, trained_text)(receipt),
        notice=notice_of(name, origin) if origin else "That of the rows it was trained on.",
    )


def name_is_asked_for(name: str, receipt: Mapping[str, Any]) -> str:
    """What the base's licence asks of a name that it has not; empty where nothing."""
    if not _origin(receipt).startswith(LLAMA) or name.startswith("Llama"):
        return ""
    return f"the licence of {_origin(receipt)} asks for a name that begins with Llama, not {name}"


def _origin(receipt: Mapping[str, Any]) -> str:
    """The hub id whose licence holds, where the receipt tells of one; else the id of the base, or nothing."""
    told, section = receipt["metrics"], receipt["recipe"]
    named = [told.get("target_base"), told.get("base"), told.get("target"), section.get("model"), section.get("base")]
    known = [str(each) for each in named if each]
    return next((each for each in known if each.startswith(LLAMA)), known[0] if known else "")


def _base_text(receipt: Mapping[str, Any]) -> str:
    told = receipt["metrics"]
    return (
        f"{trained_text(receipt)} Dataset: `{told['dataset']}`; {told['parameters']:,} parameters, {told['steps']:,} "
        f"steps. Held-out loss {number(told['nll_last'], '.3f')} nats per token; by word frequencies "
        f"{number(told['nll_unigram'], '.3f')}."
    )


def _imitation_text(receipt: Mapping[str, Any]) -> str:
    told = receipt["metrics"]
    steps = ", ".join(f"{name} {part['steps']:,} steps" for name, part in told["parts"].items())
    return f"{trained_text(receipt)} Dataset: `{told['dataset']}`; {told['parameters']:,} parameters; {steps}."


def _draft_text(receipt: Mapping[str, Any]) -> str:
    told = receipt["metrics"]
    of, tasks = held_out_prompts(told), held_out_tasks(told)
    lines = [
        f"Made by `{receipt['stage']}`, seed {receipt['seed']}, inputs `{receipt['inputs']}` (a hash of rows, models "
        f"and settings). Dataset: `{told['dataset']}`; target: `{told['target']}`; {told['parameters']:,} parameters.",
        f"On {told['prompts']} held-out prompts, {told['proposals']} proposals a round: {told['verdict']}.",
        "| Draft | Decoding | alpha | tokens a round | 95% |\n|---|---|---|---|---|\n"
        + "\n".join(
            f"| {row['draft']} | {row['decoding']} | {number(row['alpha'], '.3f', of)} | "
            f"{number(row['length'], '.3f', of)} | {interval(row['length_ci95'], '.3f', tasks)} |"
            for row in told["table"]
        ),
    ]
    return "\n\n".join(lines)


_TEXTS = {"train_draft": _draft_text, "train_draft_sft": _imitation_text, "pretrain_base": _base_text}
"""What a stage's receipt tells of training, by stage; adapters' as their merged model's card has it."""
