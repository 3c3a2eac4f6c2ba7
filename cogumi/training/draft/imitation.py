"""The first part of a draft: teacher text alone. It needs nothing of the target but its tokenizer, so that it can be
trained while adapters are, on another card; distillation goes on from it.

    figures = make_imitation(recipe, folder, dataset, target, device)
    begun = load_imitation(place, recipe, dataset, opening)          # None where it is another draft's

    draft-sft/config.json, model.safetensors ...     the draft after draft.sft_steps, as transformers reads it
    draft-sft/control.safetensors                    after as many more steps as the whole draft takes
    draft-sft/metrics.jsonl                          every step of both
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cogumi.lm.device import Device
from cogumi.lm.model import load_as_llama
from cogumi.lm.pieces import read_pieces
from cogumi.phases import report_phase
from cogumi.recipe import Recipe, content_hash
from cogumi.store.artifacts import held_metrics, new_artifact, verify
from cogumi.store.files import read_json
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ModelInput, model_hashes
from cogumi.training.base import DatasetInput, write_model
from cogumi.training.draft.distil import Begun, Watch, imitate
from cogumi.training.draft.opening import Opening, open_draft, rows_of
from cogumi.training.fitting import Fitted, Step
from cogumi.training.metrics import METRICS, MetricsFile
from cogumi.training.stopping import Stop
from cogumi.training.tensor_file import save_tensors

STAGE = "train_draft_sft"
ARTIFACT = "draft-sft"
_CONTROL = "control.safetensors"
_SECTION = {
    "hidden_size", "intermediate_size", "layers", "heads", "kv_heads", "rows_per_step", "max_seq_length",
    "learning_rate", "warmup_steps", "weight_decay", "sft_steps", "sft_control", "offline_steps", "rounds",
    "round_steps",
}  # fmt: skip
"""What of the recipe's section it follows from."""


def make_imitation(
    recipe: Recipe,
    folder: RunFolder,
    data: DatasetInput,
    target: ModelInput,
    device: Device,
    watch: Watch = lambda part, step: None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Train, or go on training, and publish; returns the stage's figures. What is there already is taken.

    `target` is the final target or any model with its tokenizer, vocabulary and positions, such as its base. Raises as
    make_draft.
    """
    report_phase("rows and draft")
    opening = open_draft(recipe, target.source)
    inputs = imitation_inputs(recipe, data.folder, opening)
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    draft, words = opening.model()
    rows = opening.imitated(rows_of(recipe, data.folder, opening.tokenizer, "train"))
    checkpoints = folder.path / "checkpoints" / f"{ARTIFACT}-{inputs}"
    section = opening.section
    with new_artifact(folder.path / ARTIFACT, STAGE, inputs, section.model_dump(mode="json"), recipe.seed) as made:
        torch.nn.Module.to(draft, device.torch_name)
        with MetricsFile(checkpoints / METRICS) as metrics:

            def told(part: str, step: Step) -> None:
                metrics.add(step, part=part)
                watch(part, step)

            begun = imitate(draft, rows, section, recipe.seed, checkpoints, told, stop)
        figures = {
            "parameters": sum(p.numel() for p in draft.parameters()), "parts": parts_figures(begun.parts), **words,
            "seconds": round(sum(part.seconds for part in begun.parts.values()), 2), "device": device.to_json(),
            "dataset": data.artifact_id, "target": target.artifact_id, "torch": str(torch.__version__),
        }  # fmt: skip
        save_tensors(begun.sft, made.path / _CONTROL)
        draft.load_state_dict(begun.begun)
        write_model(draft.cpu(), opening.tokenizer, made.path)
        shutil.copyfile(checkpoints / METRICS, made.path / METRICS)
        made.metrics |= figures
    shutil.rmtree(checkpoints, ignore_errors=True)
    return made.metrics


def load_imitation(place: Path, recipe: Recipe, dataset: Path, opening: Opening) -> Begun | None:
    """What make_imitation has left in a folder; None where it was made from other rows, settings or models.

    Raises StorageError artifact-damaged.
    """
    receipt = verify(place)
    if receipt["inputs"] != imitation_inputs(recipe, dataset, opening):
        return None
    state = load_as_llama(place).state_dict()
    begun = {name: weight.detach().clone() for name, weight in state.items()}
    return Begun(begun, load_file(place / _CONTROL), {}, dict(receipt["metrics"]["parts"]), place / METRICS)


def imitation_inputs(recipe: Recipe, dataset: Path, opening: Opening) -> str:
    """What it is a function of: settings, seed, chat format, rows, the target's words, and the draft's bytes."""
    rows = verify(dataset)["files"].get("train.jsonl", {}).get("sha256")
    config = read_json(opening.target / "config.json")
    words = [read_pieces(opening.target).vocabulary, config["vocab_size"], config["max_position_embeddings"]]
    given = model_hashes(opening.given) if opening.given else None
    section = opening.section.model_dump(mode="json", include=_SECTION)
    return content_hash([section, recipe.seed, recipe.dataset.chat_format, rows, words, given])


def parts_figures(parts: dict[str, Fitted]) -> dict[str, dict[str, Any]]:
    """Of each part: steps, the one it was resumed from, tokens and seconds."""
    return {
        name: {"steps": part.step, "resumed_from": part.resumed_from, "tokens_per_s": round(part.tokens_per_s, 1),
               "seconds": round(part.seconds, 2)}
        for name, part in parts.items()
    }  # fmt: skip
