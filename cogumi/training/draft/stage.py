"""The draft of a run: trained on its dataset and on what its target writes, measured, published as an artifact.

figures = make_draft(recipe, folder, dataset, target, device)

    draft/config.json, model.safetensors, tokenizer.json ...     as transformers reads it
    draft/metrics.jsonl                                          every step of every part
    draft/acceptance.json                                        the table, by domain and by prompt too
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM

from cogumi.errors import InputError
from cogumi.lm.chat import FORMATS, Encoded
from cogumi.lm.device import Device
from cogumi.lm.model import load_chat_tokenizer, load_llama, model_folder
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.recipe import DraftSection, Recipe, content_hash
from cogumi.store.artifacts import held_metrics, new_artifact, verify
from cogumi.store.files import read_json, write_json
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ModelInput, model_hashes
from cogumi.training.base import DatasetInput, shaped, write_model
from cogumi.training.claim import draft_section_of
from cogumi.training.clusters import Item, read_items
from cogumi.training.draft.answers import prompt_of
from cogumi.training.draft.distil import Made, Material, Watch, train_draft
from cogumi.training.draft.measure import DISTILLED, SFT, Measuring, Question, Table, measure
from cogumi.training.fitting import Step
from cogumi.training.metrics import METRICS, MetricsFile
from cogumi.training.pretrain import new_llama
from cogumi.training.stopping import Stop

STAGE = "train_draft"
ARTIFACT = "draft"
TABLE = "acceptance.json"


def make_draft(
    recipe: Recipe,
    folder: RunFolder,
    data: DatasetInput,
    target: ModelInput,
    device: Device,
    watch: Watch = lambda part, step: None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Train, or go on training, and publish; returns the stage's figures. A draft that is there already is taken.

    Raises InputError stage-not-in-recipe, corpus-unreadable, example-too-long, draft-vocabulary-differs, and as
    load_llama; RunError loss-not-finite, run-stopped; StorageError artifact-damaged, disk-full, disk-error.
    """
    section = draft_section_of(recipe)
    place = model_folder(target.source)
    given = model_folder(section.model, section.revision) if section.model else None
    inputs = _inputs(recipe, data.folder, [place, *([given] if given else [])])
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    config = read_json(place / "config.json")
    tokenizer = load_chat_tokenizer(place, int(config["vocab_size"]))
    if given is not None:
        check_vocabulary(given, place)
    rows = _items(recipe, data.folder, tokenizer, "train")
    questions = _questions(_items(recipe, data.folder, tokenizer, "test"), section.eval_prompts, recipe.seed)
    material = Material(
        [_whole(item.example) if given is None else item.example for item in rows],
        [question.prompt for question in _questions(rows, section.prompts, recipe.seed)],
        tokenizer,
    )
    checkpoints = folder.path / "checkpoints" / f"{ARTIFACT}-{inputs}"
    told_section = section.model_dump(mode="json")
    with new_artifact(folder.path / ARTIFACT, STAGE, inputs, told_section, recipe.seed) as made:
        arithmetic = torch.bfloat16 if device.torch_name.startswith("cuda") else torch.float32
        teacher = load_llama(str(place), arithmetic, device.torch_name)
        draft = _opened(section, given, teacher, tokenizer, recipe.seed, device)
        with MetricsFile(checkpoints / METRICS) as metrics:

            def told(part: str, step: Step) -> None:
                metrics.add(step, part=part)
                watch(part, step)

            trained = train_draft(draft, teacher, material, section, recipe.seed, checkpoints, told, stop)
        table = _measured(section, teacher, draft, trained, questions, tokenizer, recipe.seed)
        figures = _figures(section, draft, trained, table, device)
        figures |= {"dataset": data.artifact_id, "target": target.artifact_id}
        write_json(
            made.path / TABLE, {"rows": table.rows(), "domains": table.by_domain(), "prompts": table.by_prompt()}
        )
        write_model(draft.cpu(), tokenizer, made.path)
        shutil.copyfile(checkpoints / METRICS, made.path / METRICS)
        made.metrics |= figures
    shutil.rmtree(checkpoints, ignore_errors=True)
    return figures


def check_vocabulary(draft: Path, target: Path) -> None:
    """Raises InputError draft-vocabulary-differs where a token of one is not that of the other."""
    vocabularies = []
    for folder in (draft, target):
        size = int(read_json(folder / "config.json")["vocab_size"])
        tokenizer = load_chat_tokenizer(folder, size)
        vocabularies.append((size, tokenizer.vocabulary()))
    if vocabularies[0] != vocabularies[1]:
        raise InputError("draft-vocabulary-differs", f"{draft}; the target is {target}")


def _opened(
    section: DraftSection,
    given: Path | None,
    target: LlamaForCausalLM,
    tokenizer: TrainingTokenizer,
    seed: int,
    device: Device,
) -> LlamaForCausalLM:
    """fp32 weights, all of them trained; one from nothing has the target's words and positions."""
    if given is not None:
        return load_llama(str(given), torch.float32, device.torch_name).requires_grad_(True)
    words, positions = target.config.vocab_size, target.config.max_position_embeddings
    draft = new_llama(shaped(section, words, positions, tokenizer), seed)
    torch.nn.Module.to(draft, device.torch_name)
    return draft


def _items(recipe: Recipe, dataset: Path, tokenizer: TrainingTokenizer, part: str) -> list[Item]:
    form, most = FORMATS[recipe.dataset.chat_format], draft_section_of(recipe).max_seq_length
    found = read_items(dataset, tokenizer, form, most, parts=(part,), drop_long=True)
    if not found:
        raise InputError("example-too-long", f"every row of {part} has more than draft.max_seq_length = {most} tokens")
    return found


def _whole(row: Encoded) -> Encoded:
    """A model from nothing learns the prompts too: its loss is on every token but the first."""
    return Encoded(row.ids, [0] + [1] * (len(row.ids) - 1))


def _questions(items: Sequence[Item], most: int, seed: int) -> list[Question]:
    """Prompts of all domains in turn, each domain's in an order of chance."""
    by_domain: dict[str, list[Question]] = {}
    for item in items:
        domain = item.task.partition("/")[0]
        by_domain.setdefault(domain, []).append(Question(prompt_of(item.example), item.task, domain))
    for domain, members in by_domain.items():
        Random(f"{seed} {domain}").shuffle(members)  # nosec B311 # which prompts, not a secret
    turns = max(len(members) for members in by_domain.values())
    dealt = [members[turn] for turn in range(turns) for members in by_domain.values() if turn < len(members)]
    return dealt[:most]


def _measured(
    section: DraftSection,
    target: LlamaForCausalLM,
    draft: LlamaForCausalLM,
    made: Made,
    questions: Sequence[Question],
    tokenizer: TrainingTokenizer,
    seed: int,
) -> Table:
    written = torch.tensor([word for row in made.answers for word, own in zip(row.ids, row.mask, strict=True) if own])
    counts_V = torch.bincount(written, minlength=target.config.vocab_size)
    last = {name: weight.detach().clone() for name, weight in draft.state_dict().items()}
    arms = {SFT: made.sft, DISTILLED: last}
    how = Measuring(section.max_new_tokens, section.proposals, seed)
    return measure(target, draft, arms, questions, counts_V, how, tokenizer)


def _figures(
    section: DraftSection, draft: LlamaForCausalLM, made: Made, table: Table, device: Device
) -> dict[str, Any]:
    parts = {
        name: {"steps": part.step, "resumed_from": part.resumed_from, "tokens_per_s": round(part.tokens_per_s, 1),
               "seconds": round(part.seconds, 2)}
        for name, part in made.parts.items()
    }  # fmt: skip
    return {
        "parameters": sum(p.numel() for p in draft.parameters()),
        "parts": parts,
        "damaged_checkpoints": [name for part in made.parts.values() for name in part.passed_over],
        "proposals": section.proposals,
        **table.figures(),
        "table": table.rows(),
        "seconds": round(made.seconds, 2),
        "device": device.to_json(),
        "torch": str(torch.__version__),
    }


def _inputs(recipe: Recipe, dataset: Path, models: Sequence[Path]) -> str:
    """What a draft is a function of: section, seed, chat format, and every byte of rows and models."""
    names = ("train.jsonl", "test.jsonl")
    rows = {name: entry["sha256"] for name, entry in verify(dataset)["files"].items() if name in names}
    weights = [model_hashes(model) for model in models]
    section = draft_section_of(recipe).model_dump(mode="json", exclude={"target", "model", "revision", "save_every"})
    return content_hash([section, recipe.seed, recipe.dataset.chat_format, rows, weights])
