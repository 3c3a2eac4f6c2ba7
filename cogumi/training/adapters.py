"""The adapters of a run: meta-trained on its dataset, compared with what is simpler, published as an artifact.

figures = make_adapter(recipe, folder, dataset, model, device)

    adapter/adapter_config.json, adapter_model.safetensors     LoRA as PEFT reads it
    adapter/meta.safetensors, meta.json                        what further adaptation needs
    adapter/meta.jsonl, sft.jsonl                              metrics of both arms, step by step
    adapter/comparison.json                                    the closing table, episode by episode too
"""

from __future__ import annotations

import shutil
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from transformers import LlamaForCausalLM

from cogumi.errors import InputError, RunError
from cogumi.lm.device import Device
from cogumi.lm.model import load_chat_tokenizer, load_llama, model_folder
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.phases import report_phase, within
from cogumi.recipe import Recipe, TrainSection, content_hash
from cogumi.recipe.changes import NOT_CONTENT
from cogumi.store.artifacts import RECEIPT, held_metrics, new_artifact, verify
from cogumi.store.files import sha256_of, write_json
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapt import adapt
from cogumi.training.adaptable import Adaptable
from cogumi.training.adapter import save_adapter
from cogumi.training.algorithms import MetaWeights
from cogumi.training.arms import META, SFT, Arms, Bench, Watch, arm_resumes_exactly, new_bench, run_arms, with_best_rate
from cogumi.training.base import READ, DatasetInput
from cogumi.training.claim import shape_of, train_section_of
from cogumi.training.compare import Comparison, Way, compare
from cogumi.training.meta_train import MetaStep
from cogumi.training.plan import TrainingPlan, plan_training
from cogumi.training.sharded import load_in_parts
from cogumi.training.stopping import Stop
from cogumi.training.team import ALONE, Team
from cogumi.training.trackers import check_trackers, open_trackers

STAGE = "train_models"
ARTIFACT = "adapter"
BASE = "base"
"""Of the closing table: the model without any adapter."""
_SCORED_AT_ONCE = {"cuda": 32_768, "cpu": 4096}
"""Tokens; more of them than fit into a CPU's cache are slower."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    """A base model on this machine (a folder or a hub id), and the id it goes by."""

    source: str
    artifact_id: str


def make_adapter(
    recipe: Recipe,
    folder: RunFolder,
    data: DatasetInput,
    model: ModelInput,
    device: Device,
    watch: Watch = lambda arm, step: None,
    stop: Stop | None = None,
    team: Team = ALONE,
    inputs: str = "",
) -> dict[str, Any]:
    """Train, or go on training, and publish; returns the stage's figures. An adapter that is there already is taken.

    All of a team call it; `folder` is the run's in the first, in the others one whose checkpoints are the run's, and
    `inputs` is what `adapter_inputs` gave whoever started them. What
    can be known from rows, model folder and trackers is checked before the model is loaded. Raises InputError (see
    plan_training, model_folder, load_chat_tokenizer, load_llama, check_trackers); RunError training-diverged,
    gpu-out-of-memory, run-stopped, processes-differ; StorageError artifact-damaged, disk-full, disk-error.
    """
    section = train_section_of(recipe)
    base, tokenizer = open_model(recipe, model.source)
    inputs = inputs or _inputs(recipe, data.folder, base)
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    check_trackers(section.trackers)
    plan = plan_training(recipe, data.folder, tokenizer)
    checkpoints = folder.path / "checkpoints" / f"{ARTIFACT}-{inputs}"
    told_section = section.model_dump(mode="json")
    tracked = section.trackers if team.first else []
    with (
        new_artifact(folder.path / ARTIFACT, STAGE, inputs, told_section, recipe.seed) as draft,
        open_trackers(tracked, folder.name, folder.path / "tracking", told_section) as trackers,
    ):
        number = 0

        def told(arm: str, step: MetaStep) -> None:
            nonlocal number
            number += 1
            trackers.log(_shown(arm, step), number)
            watch(arm, step)

        llama = _loaded(section, base, device, team)
        bench = new_bench(section, llama, recipe.seed, team)
        arms = run_arms(bench, plan, checkpoints, told, stop)
        figures = _figures(bench, plan, arms, device, base)
        figures["resumed_bit_exact"] = arm_resumes_exactly(bench, plan, checkpoints / "replay")
        figures |= {"dataset": data.artifact_id, "base": model.artifact_id, "trackers_failed": trackers.failed}
        weights, inner = arms.trained[META].weights, bench.inner(bench.algorithm)
        figures["adapt_seconds"] = _adapt_seconds(llama, bench, plan, weights)
        save_adapter(draft.path, bench.body, bench.head, weights, inner, model.artifact_id, base)
        for name, file in arms.files.items():
            shutil.copyfile(checkpoints / f"{file}.jsonl", draft.path / f"{name}.jsonl")
        if plan.test:
            table, rates = _table(bench, plan, arms)
            write_json(draft.path / "comparison.json", _episodes(table))
            figures |= _told(table) | {"control_rates": rates}
        draft.metrics |= figures
    _forget(checkpoints, team)
    return dict(draft.metrics)


def _forget(checkpoints: Path, team: Team) -> None:
    """Once all of a team are through with them."""
    team.wait()
    if team.first:
        shutil.rmtree(checkpoints, ignore_errors=True)


def _loaded(section: TrainSection, base: Path, device: Device, team: Team) -> LlamaForCausalLM:
    """The base in bf16 on a GPU, whole or in parts."""
    arithmetic = torch.bfloat16 if device.torch_name.startswith("cuda") else torch.float32
    if section.shard_base:
        return load_in_parts(base, arithmetic, team)
    return load_llama(str(base), arithmetic, device.torch_name)


def adapter_inputs(recipe: Recipe, data: DatasetInput, model: ModelInput) -> str:
    """The hash of what an adapter is a function of. Raises as model_folder; StorageError artifact-damaged."""
    return _inputs(recipe, data.folder, open_model(recipe, model.source)[0])


def _adapt_seconds(llama: LlamaForCausalLM, bench: Bench, plan: TrainingPlan, weights: MetaWeights) -> float | None:
    """What adapting to a test task's support set takes, leaving each row out in turn included: the median of three.
    None where nothing adapts, or there is no such task.
    """
    report_phase("time of an adaptation")
    inner = bench.inner(bench.algorithm)
    if not plan.test or not inner.steps or bench.section.support < 2:
        return None
    of = Adaptable(llama, bench.body, bench.head, weights, inner, "")
    seconds = []
    for episode in plan.test[:3]:
        began = time.monotonic()
        with suppress(RunError, InputError):  # a task that does not gain takes as long
            adapt(of, episode.support)
        seconds.append(time.monotonic() - began)
    return round(statistics.median(seconds), 4)


def open_model(recipe: Recipe, source: str) -> tuple[Path, TrainingTokenizer]:
    """The folder of the base model and its tokenizer, checked without loading a weight."""
    base = model_folder(source, train_section_of(recipe).revision)
    config = orjson.loads((base / "config.json").read_bytes())
    return base, load_chat_tokenizer(base, int(config["vocab_size"]))


def _shown(arm: str, step: MetaStep) -> dict[str, float]:
    """For trackers: what is a number in this step."""
    names = ("loss", "support_first", "support_last", "norm", "learning_rate", "tokens_per_s", "gain", "held_out")
    found = {f"{arm}/{name}": getattr(step, name) for name in names}
    return {name: float(value) for name, value in found.items() if value is not None and value == value}


def _figures(bench: Bench, plan: TrainingPlan, arms: Arms, device: Device, base: Path) -> dict[str, Any]:
    section, meta = bench.section, arms.trained[META]
    return {
        "preset": section.preset,
        "algorithm": section.algorithm,
        "head": section.head.kind if bench.head.cut else "all LoRA weights",
        "parameters": sum(w.numel() for part in (meta.weights.slow, meta.weights.head) for w in part.values()),
        "tasks": {"training": len(plan.split.training), "validation": len(plan.split.validation),
                  "test": len(plan.split.test)},
        "rows": plan.rows,
        "rows_unused": plan.split.rows_unused,
        "steps": meta.step,
        "best_step": meta.best_step,
        "resumed_from": meta.resumed_from,
        "damaged_checkpoints": meta.passed_over,
        "rewinds": meta.rewinds,
        "steps_discarded": meta.discarded,
        "token_budget": meta.token_budget,
        "loss_first": meta.loss_first,
        "loss_last": meta.loss_last,
        "tokens_per_s": round(meta.tokens_per_s, 1),
        "sft_tokens_per_s": round(arms.trained[SFT].tokens_per_s, 1) if SFT in arms.trained else None,
        "losses_by_rate": arms.losses,
        "seconds": round(arms.seconds, 2),
        "cost_usd": round(arms.seconds / 3600 * section.usd_per_hour, 4),
        "base_parameters": round(shape_of(str(base)).parameters),
        "processes": bench.body.team.size,
        "device": device.to_json(),
        "torch": str(torch.__version__),
    }  # fmt: skip


def _table(bench: Bench, plan: TrainingPlan, arms: Arms) -> tuple[Comparison, dict[str, float]]:
    """The base, SFT and the adapter on test tasks. Models that have learned no step sizes adapt by the one that is best
    for them on the validation tasks; those too.
    """
    budget = bench.section.token_budget or _SCORED_AT_ONCE[torch.device(bench.body.device).type]
    simple = {BASE: bench.fresh} | ({SFT: arms.trained[SFT].weights} if SFT in arms.trained else {})
    shown, inner = [SFT if SFT in simple else BASE], bench.inner(bench.algorithm)
    with within("closing table"):
        tuned = {name: with_best_rate(bench, weights, plan.validation, budget) for name, weights in simple.items()}
        models = {name: weights for name, (weights, _) in tuned.items()} | {META: arms.trained[META].weights}
        table = compare(bench.body, bench.head, models, plan.test, inner, budget, in_context=shown, control=[META])
    return table, {name: rate for name, (_, rate) in tuned.items()}


def _told(table: Comparison) -> dict[str, Any]:
    """The stage's figures of the closing table, and its verdict."""
    simple = SFT if SFT in table.models else BASE
    gain = table.gain(META, Way.ADAPTED)
    over = {
        f"{model}, {way}": table.wins((META, Way.ADAPTED), (model, way))
        for model, way in table.losses
        if model != META and way is not Way.CONTROL
    }
    return {
        "episodes": gain.n,
        "held_out_tasks": gain.groups,
        "gain_mean": gain.mean,
        "gain_ci95": [gain.low, gain.high],
        "sft_gain_mean": table.gain(SFT, Way.ADAPTED).mean if SFT in table.models else None,
        "in_context_gain_mean": table.gain(simple, Way.IN_CONTEXT).mean,
        "concludes": table.concludes(META),
        "table": table.rows(),
        "over": {name: {"mean": m.mean, "ci95": [m.low, m.high]} for name, m in over.items()},
        "verdict": verdict(table, simple),
    }


def verdict(table: Comparison, simple: str) -> str:
    """One line: whether meta-training is worth it, and whether the table can say so."""
    if table.sample.shortage:
        return f"no conclusion: {table.sample.shortage}"
    if not table.concludes(META):
        return "no conclusion: another task's support set serves as well"
    least = [table.wins((META, Way.ADAPTED), (simple, way)) for way in (Way.AS_IT_IS, Way.ADAPTED, Way.IN_CONTEXT)]
    if all(win.low > 0 for win in least):
        return f"the adapted adapter beats {simple} as it is, adapted, and in context"
    if any(win.high < 0 for win in least):
        return f"{simple} is better in some way: meta-training is not worth it here"
    return f"no difference from {simple} beyond chance in some way"


def _episodes(table: Comparison) -> dict[str, Any]:
    losses = {f"{model}, {way}": values.tolist() for (model, way), values in table.losses.items()}
    return {"tasks": table.tasks, "losses": losses, "rows": table.rows()}


def _inputs(recipe: Recipe, dataset: Path, base: Path) -> str:
    """What an adapter is a function of: section, seed, chat format, and every byte of rows and base model."""
    report_phase("hashes of rows and base")
    rows = {name: entry["sha256"] for name, entry in verify(dataset)["files"].items() if name in READ}
    section = train_section_of(recipe).model_dump(mode="json", exclude=_NOT_OF_THE_RESULT)
    return content_hash(
        [section, recipe.seed, recipe.dataset.chat_format, recipe.dataset.cells, rows, model_hashes(base)]
    )


_NOT_OF_THE_RESULT = {"base", "revision", *NOT_CONTENT["train"]}  # the base counts by its bytes


def model_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of a model's files by name; by its receipt where it has one. Raises StorageError artifact-damaged."""
    if (folder / RECEIPT).is_file():
        return {name: entry["sha256"] for name, entry in verify(folder)["files"].items()}
    files = sorted(file for kind in ("*.safetensors", "*.json") for file in folder.glob(kind))
    return {file.name: sha256_of(file) for file in files}
