"""The merged model of a run: base and adapter in one folder, checked, with its card, published as an artifact.

figures = make_merged(Pair(adapter, base), Path("runs/demo/merged"), held_out_of(dataset, base, form))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from cogumi.errors import RunError
from cogumi.lm.chat import ChatFormat, Encoded
from cogumi.lm.device import Device, claim_device
from cogumi.lm.model import load_chat_tokenizer, load_llama, model_folder
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.metrics.formatting import Sample
from cogumi.phases import report_phase, within
from cogumi.recipe import content_hash
from cogumi.store.artifacts import held_metrics, new_artifact, read_receipt
from cogumi.store.files import read_json, sha256_of, write_atomic
from cogumi.store.run_folder import RunFolder
from cogumi.training.card import model_card
from cogumi.training.claim import CPU_PARAMETERS
from cogumi.training.clusters import has_rows, read_items
from cogumi.training.merge import merge, stored_dtype
from cogumi.training.merge_check import check_outputs, check_weights
from cogumi.training.thinking import Prompts, prompts_of, thinking

STAGE = "merge"
ARTIFACT = "merged"
_ROWS = 16
_SPARE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Of a dataset, what a merged model is looked at with: rows, and prompts by difficulty."""

    rows: Sequence[Encoded]
    asked: Prompts
    tokenizer: TrainingTokenizer


@dataclass(frozen=True, slots=True)
class Pair:
    """An adapter's folder, and its base: a folder or a hub id."""

    adapter: Path
    base: str


def make_merged(pair: Pair, place: Path, held_out: HeldOut | None = None) -> dict[str, Any]:
    """Merge, check and publish; returns the figures. What is there already, of the same two, is taken.

    Outputs are compared on held-out rows, where a device holds the base in fp32; on held-out prompts it is counted when
    base and merged model think, where one holds it in its own precision. Raises as merge, check_weights and
    check_outputs; StorageError disk-full, disk-error.
    """
    report_phase("hashes of adapter and base")
    source = model_folder(pair.base)
    inputs = content_hash(
        [sha256_of(file) for file in sorted(pair.adapter.glob("adapter_*")) + sorted(source.glob("*.safetensors"))]
    )
    held = held_metrics(place, inputs)
    if held is not None:
        return held
    with new_artifact(place, STAGE, inputs, {}, 0) as draft:
        report_phase("merge")
        merge(source, pair.adapter, draft.path)
        report_phase("merge check: weights")
        weights = check_weights(source, pair.adapter, draft.path)
        draft.metrics |= {
            "targets": weights.targets, "untouched": weights.untouched, "merge_max_rel_err": weights.max_rel_err,
        } | _outputs(pair.adapter, source, draft.path, held_out)  # fmt: skip
        draft.metrics |= _thinking(source, draft.path, held_out)
        config = read_json(pair.adapter / "adapter_config.json")
        base = str(config.get("base_model_name_or_path") or pair.base)
        card = model_card(place.name, base, read_receipt(pair.adapter), draft.metrics)
        write_atomic(draft.path / "README.md", card.encode())
        draft.metrics |= {"base": base}
    return dict(draft.metrics)


def merge_trained(folder: RunFolder, dataset: Path, base: str, form: ChatFormat) -> dict[str, Any]:
    """The adapter that a run has just trained, folded into its base."""
    pair = Pair(folder.path / "adapter", base)
    return make_merged(pair, folder.path / ARTIFACT, held_out_of(dataset, base, form))


def held_out_of(dataset: Path, base: str, form: ChatFormat) -> HeldOut | None:
    """Of a dataset's validation part, and of its test part too for prompts; None where there is no dataset."""
    if read_receipt(dataset) is None:
        return None
    report_phase("held-out rows")
    source = model_folder(base)
    config = read_json(source / "config.json")
    tokenizer = load_chat_tokenizer(source, int(config["vocab_size"]))
    most = int(config["max_position_embeddings"])
    validation, test = (
        read_items(dataset, tokenizer, form, most, parts=(part,), drop_long=True)
        if has_rows(dataset, part) else []
        for part in ("validation", "test")
    )  # fmt: skip
    rows = list(islice((item.example for item in validation if any(item.example.mask)), _ROWS))
    return HeldOut(rows, prompts_of([*validation, *test]), tokenizer)


def device_for(model: Path, bytes_a_weight: int) -> Device:
    """Where a model fits with so many bytes a weight; a CPU only for small ones. Raises RunError as claim_device."""
    parameters = sum(file.stat().st_size for file in model.glob("*.safetensors")) / stored_dtype(model).itemsize
    need_gib = (bytes_a_weight * parameters + _SPARE_BYTES) / 2**30
    return claim_device(need_gib, allow_cpu=parameters < CPU_PARAMETERS)


def _thinking(source: Path, merged: Path, held_out: HeldOut | None) -> dict[str, Any]:
    """When both think, by difficulty; the reason where there are no prompts, or no device holds them."""
    if held_out is None:
        return {}
    if not held_out.asked:
        return {"thinking_not_measured": Sample(0, "held-out prompts").shortage}
    kept = stored_dtype(source)
    try:
        device = device_for(source, bytes_a_weight=kept.itemsize)
    except RunError as error:
        return {"thinking_not_measured": f"{error.code} {error.detail}".strip()}
    models = {name: partial(load_llama, str(folder), kept, device.torch_name)
              for name, folder in (("base", source), ("merged", merged))}  # fmt: skip
    with within("thinking"):
        return {"thinking": thinking(models, held_out.asked, held_out.tokenizer)}


def _outputs(adapter: Path, source: Path, merged: Path, held_out: HeldOut | None) -> dict[str, Any]:
    """What both say; the reason where there are no rows, or no device holds the base in fp32."""
    if held_out is None:
        return {}
    rows = held_out.rows
    if not rows:
        return {"outputs_not_compared": Sample(0, "held-out rows").shortage}
    try:
        device = device_for(source, bytes_a_weight=4)
    except RunError as error:
        return {"outputs_not_compared": f"{error.code} {error.detail}".strip()}
    found = check_outputs(source, adapter, merged, rows, device.torch_name)
    return {
        "rows": len(rows), "exact": found.exact, "kl": found.stored.kl, "argmax": found.stored.argmax,
        "nll": found.stored.nll, "kl_unmerged": found.unmerged.kl, "argmax_unmerged": found.unmerged.argmax,
        "nll_unmerged": found.unmerged.nll,
    }  # fmt: skip
