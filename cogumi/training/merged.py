"""The merged model of a run: base and adapter in one folder, checked, with its card, published as an artifact.

figures = make_merged(Pair(adapter, base), Path("runs/demo/merged"), rows=held_out_rows(dataset, base, form))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cogumi.errors import RunError
from cogumi.lm.chat import ChatFormat, Encoded
from cogumi.lm.device import Device, claim_device
from cogumi.lm.model import load_chat_tokenizer, model_folder
from cogumi.recipe import content_hash
from cogumi.store.artifacts import held_metrics, new_artifact, read_receipt
from cogumi.store.files import read_json, sha256_of, write_atomic
from cogumi.store.run_folder import RunFolder
from cogumi.training.card import model_card
from cogumi.training.claim import CPU_PARAMETERS
from cogumi.training.clusters import read_items
from cogumi.training.merge import merge, stored_dtype
from cogumi.training.merge_check import check_outputs, check_weights

STAGE = "merge"
ARTIFACT = "merged"
_ROWS = 16
_SPARE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Pair:
    """An adapter's folder, and its base: a folder or a hub id."""

    adapter: Path
    base: str


def make_merged(pair: Pair, place: Path, rows: Sequence[Encoded] = ()) -> dict[str, Any]:
    """Merge, check and publish; returns the figures. What is there already, of the same two, is taken.

    Outputs are compared on `rows`, where a device holds the base in fp32. Raises as merge, check_weights and
    check_outputs; StorageError disk-full, disk-error.
    """
    source = model_folder(pair.base)
    inputs = content_hash(
        [sha256_of(file) for file in sorted(pair.adapter.glob("adapter_*")) + sorted(source.glob("*.safetensors"))]
    )
    held = held_metrics(place, inputs)
    if held is not None:
        return held
    with new_artifact(place, STAGE, inputs, {}, 0) as draft:
        merge(source, pair.adapter, draft.path)
        weights = check_weights(source, pair.adapter, draft.path)
        draft.metrics |= {
            "targets": weights.targets, "untouched": weights.untouched, "merge_max_rel_err": weights.max_rel_err,
        } | _outputs(pair.adapter, source, draft.path, rows)  # fmt: skip
        config = read_json(pair.adapter / "adapter_config.json")
        base = str(config.get("base_model_name_or_path") or pair.base)
        card = model_card(place.name, base, read_receipt(pair.adapter), draft.metrics)
        write_atomic(draft.path / "README.md", card.encode())
        draft.metrics |= {"base": base}
    return dict(draft.metrics)


def merge_trained(folder: RunFolder, dataset: Path, base: str, form: ChatFormat) -> dict[str, Any]:
    """The adapter that a run has just trained, folded into its base."""
    pair = Pair(folder.path / "adapter", base)
    return make_merged(pair, folder.path / ARTIFACT, held_out_rows(dataset, base, form))


def held_out_rows(dataset: Path, base: str, form: ChatFormat) -> list[Encoded]:
    """Rows of a dataset's validation part to compare outputs on; none where it has none."""
    if not (dataset / "validation.jsonl").is_file():
        return []
    source = model_folder(base)
    config = read_json(source / "config.json")
    tokenizer = load_chat_tokenizer(source, int(config["vocab_size"]))
    most = int(config["max_position_embeddings"])
    items = read_items(dataset, tokenizer, form, most, parts=("validation",), drop_long=True)
    return list(islice((item.example for item in items if any(item.example.mask)), _ROWS))


def device_for(model: Path, bytes_a_weight: int) -> Device:
    """Where a model fits with so many bytes a weight; a CPU only for small ones. Raises RunError as claim_device."""
    parameters = sum(file.stat().st_size for file in model.glob("*.safetensors")) / stored_dtype(model).itemsize
    need_gib = (bytes_a_weight * parameters + _SPARE_BYTES) / 2**30
    return claim_device(need_gib, allow_cpu=parameters < CPU_PARAMETERS)


def _outputs(adapter: Path, source: Path, merged: Path, rows: Sequence[Encoded]) -> dict[str, Any]:
    """What both say. Nothing where there are no rows; the reason where no device holds the base in fp32."""
    if not rows:
        return {}
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
