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

from cogumi.lm.device import Device
from cogumi.lm.model import load_llama
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.phases import report_phase, within
from cogumi.recipe import DraftSection, Recipe, content_hash
from cogumi.recipe.changes import NOT_CONTENT
from cogumi.store.artifacts import held_metrics, new_artifact, read_receipt, verify
from cogumi.store.files import write_atomic, write_json
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ModelInput, model_hashes
from cogumi.training.base import DatasetInput, write_model
from cogumi.training.claim import draft_section_of
from cogumi.training.clusters import Item, has_rows
from cogumi.training.draft.answers import prompt_of
from cogumi.training.draft.distil import Made, Material, Watch, train_draft
from cogumi.training.draft.imitation import load_imitation, parts_figures
from cogumi.training.draft.measure import DISTILLED, SFT, Measuring, Question, Table, measure
from cogumi.training.draft.opening import open_draft, rows_of
from cogumi.training.fitting import Step
from cogumi.training.metrics import METRICS, MetricsFile
from cogumi.training.stopping import Stop

STAGE = "train_draft"
ARTIFACT = "draft"
TABLE = "acceptance.json"
_NOT_OF_THE_RESULT = {"target", "model", "revision", *NOT_CONTENT["draft"]}  # models count by their bytes


def make_draft(
    recipe: Recipe,
    folder: RunFolder,
    data: DatasetInput,
    target: ModelInput,
    device: Device,
    watch: Watch = lambda part, step: None,
    stop: Stop | None = None,
    imitation: ModelInput | None = None,
) -> dict[str, Any]:
    """Train, or go on training, and publish; returns the stage's figures. A draft that is there already is taken.

    `imitation` is what `make_imitation` has made of this draft elsewhere; where it is of another draft, or none is
    given, teacher text is learned here.

    Raises InputError stage-not-in-recipe, corpus-unreadable, example-too-long, tokenizer-of-another-kind, and as
    load_llama; RunError loss-not-finite, run-stopped; StorageError artifact-damaged, disk-full, disk-error.
    """
    report_phase("hashes of rows and models")
    opening = open_draft(recipe, target.source)
    section, place, tokenizer = opening.section, opening.target, opening.tokenizer
    inputs = _inputs(recipe, data.folder, opening.models)
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    draft, words = opening.model()
    rows = rows_of(recipe, data.folder, tokenizer, "train")
    tested = rows_of(recipe, data.folder, tokenizer, "test") if has_rows(data.folder, "test") else []
    questions = _questions(tested, section.eval_prompts, recipe.seed)
    asked = [question.prompt for question in _questions(rows, section.prompts, recipe.seed)]
    material = Material(opening.imitated(rows), asked, tokenizer)
    begun = load_imitation(Path(imitation.source), recipe, data.folder, opening) if imitation else None
    checkpoints = folder.path / "checkpoints" / f"{ARTIFACT}-{inputs}"
    told_section = section.model_dump(mode="json")
    with new_artifact(folder.path / ARTIFACT, STAGE, inputs, told_section, recipe.seed) as made:
        arithmetic = torch.bfloat16 if device.torch_name.startswith("cuda") else torch.float32
        teacher = load_llama(str(place), arithmetic, device.torch_name)
        torch.nn.Module.to(draft, device.torch_name)
        with MetricsFile(checkpoints / METRICS) as metrics:

            def told(part: str, step: Step) -> None:
                metrics.add(step, part=part)
                watch(part, step)

            trained = train_draft(draft, teacher, material, section, recipe.seed, checkpoints, told, stop, begun)
        table = _measured(section, teacher, draft, trained, questions, tokenizer, recipe.seed)
        figures = _figures(section, draft, trained, table, device)
        figures |= words | {"dataset": data.artifact_id, "target": target.artifact_id, "target_base": _base_of(place)}
        figures["target_parameters"] = sum(p.numel() for p in teacher.parameters())
        steps = (checkpoints / METRICS).read_bytes()
        if begun is not None and begun.metrics is not None and imitation is not None:
            figures |= {"parts": begun.told | figures["parts"], "imitation": imitation.artifact_id}
            steps = begun.metrics.read_bytes() + steps
        by = {"rows": table.rows(), "domains": table.by_domain(), "prompts": table.by_prompt()}
        write_json(made.path / TABLE, by)
        write_model(draft.cpu(), tokenizer, made.path)
        write_atomic(made.path / METRICS, steps)
        made.metrics |= figures
    shutil.rmtree(checkpoints, ignore_errors=True)
    return made.metrics


def _base_of(target: Path) -> str | None:
    """What a merged target stands on; None where it does not say."""
    return ((read_receipt(target) or {}).get("metrics") or {}).get("base")


def _questions(items: Sequence[Item], most: int, seed: int) -> list[Question]:
    """Prompts of all domains in turn, each domain's in an order of chance."""
    by_domain: dict[str, list[Question]] = {}
    for item in items:
        domain = item.task.partition("/")[0]
        by_domain.setdefault(domain, []).append(Question(prompt_of(item.example), item.task, domain))
    for domain, members in by_domain.items():
        Random(f"{seed} {domain}").shuffle(members)  # nosec B311 # which prompts, not a secret
    turns = max((len(members) for members in by_domain.values()), default=0)
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
    last = {name: weight.detach().cpu().clone() for name, weight in draft.state_dict().items()}
    arms = {SFT: made.sft, DISTILLED: last}
    how = Measuring(section.max_new_tokens, section.proposals, seed)
    with within("acceptance"):
        return measure(target, draft, arms, questions, counts_V, how, tokenizer)


def _figures(
    section: DraftSection, draft: LlamaForCausalLM, made: Made, table: Table, device: Device
) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in draft.parameters()),
        "parts": parts_figures(made.parts),
        "written": made.written,
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
    section = draft_section_of(recipe).model_dump(mode="json", exclude=_NOT_OF_THE_RESULT)
    return content_hash([section, recipe.seed, recipe.dataset.chat_format, rows, weights])
