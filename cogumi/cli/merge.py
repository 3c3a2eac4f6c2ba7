"""`cogumi merge`: base and adapter as one model, checked tensor by tensor, with its card."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import typer

from cogumi.cli.chosen import (
    AdapterOption,
    BaseOption,
    Chosen,
    RootOption,
    RunOption,
    check_adapter,
    check_place,
    choose,
    device_for,
)
from cogumi.cli.output import JsonOption, console, print_json
from cogumi.errors import RunError
from cogumi.recipe import content_hash
from cogumi.store.artifacts import new_artifact, read_receipt
from cogumi.store.files import read_json, sha256_of, write_atomic

_STAGE = "merge"
_ROWS = 16


def merge(
    run: str = RunOption,
    adapter: Path | None = AdapterOption,
    base: str = BaseOption,
    out: Path | None = typer.Option(None, "--out", "-o", help="Folder to write; default: merged in the run's."),
    root: Path = RootOption,
    as_json: bool = JsonOption,
) -> None:
    """Fold an adapter into its base: a folder that transformers loads by itself, in the base's precision."""
    chosen = choose("merge", run, adapter, base, root)
    name = "merged" if adapter is None else f"merged-{adapter.name}"
    place = out or (chosen.folder / name if chosen.folder else Path(name))
    check_place(place, _STAGE)
    told = _made(chosen, place)
    if as_json:
        print_json(told)
        return
    console.print(
        f"[bold green]done[/] {told['targets']} tensors changed (largest error {told['merge_max_rel_err']:.2g}), "
        f"{told['untouched']} as they were",
        highlight=False,
    )
    if "rows" in told:
        console.print(
            f"  {told['rows']} rows: KL {told['kl']:.2g} nats, other first choices {told['argmax']:.2%} (unmerged "
            f"{told['kl_unmerged']:.2g}, {told['argmax_unmerged']:.2%})",
            highlight=False,
        )
    if "outputs_not_compared" in told:
        console.print(f"[yellow]outputs were not compared[/]: {told['outputs_not_compared']}", highlight=False)
    console.print(f"  model: {place}", highlight=False, soft_wrap=True)


def _made(chosen: Chosen, place: Path) -> dict[str, Any]:
    from cogumi.lm.model import model_folder
    from cogumi.training.card import model_card
    from cogumi.training.merge import merge as merged_into
    from cogumi.training.merge_check import check_weights

    check_adapter(chosen.adapter)
    source = model_folder(chosen.base)
    inputs = content_hash(
        [sha256_of(file) for file in sorted(chosen.adapter.glob("adapter_*")) + sorted(source.glob("*.safetensors"))]
    )
    with new_artifact(place, _STAGE, inputs, {}, 0) as draft:
        merged_into(source, chosen.adapter, draft.path)
        weights = check_weights(source, chosen.adapter, draft.path)
        draft.metrics |= {
            "targets": weights.targets, "untouched": weights.untouched, "merge_max_rel_err": weights.max_rel_err,
        } | _outputs(chosen, source, draft.path)  # fmt: skip
        config = read_json(chosen.adapter / "adapter_config.json")
        base = str(config.get("base_model_name_or_path") or chosen.base)
        receipt = read_receipt(chosen.adapter)
        card = model_card(place.name, base, receipt, draft.metrics)
        write_atomic(draft.path / "README.md", card.encode())
        draft.metrics |= {"base": base}
    return {"model": str(place), **draft.metrics}


def _outputs(chosen: Chosen, source: Path, merged: Path) -> dict[str, Any]:
    """What both say on held-out rows of the run. Nothing where there are none; the reason where no device holds the
    base in fp32.
    """
    from cogumi.lm.model import load_chat_tokenizer
    from cogumi.training.clusters import read_items
    from cogumi.training.merge_check import check_outputs

    dataset = chosen.folder / "dataset" if chosen.folder else None
    if dataset is None or not (dataset / "validation.jsonl").is_file():
        return {}
    config = read_json(source / "config.json")
    tokenizer = load_chat_tokenizer(source, int(config["vocab_size"]))
    most = int(config["max_position_embeddings"])
    items = read_items(dataset, tokenizer, chosen.form, most, parts=("validation",), drop_long=True)
    rows = list(islice((item.example for item in items if any(item.example.mask)), _ROWS))
    try:
        device = device_for(source, bytes_a_weight=4)
    except RunError as error:
        return {"outputs_not_compared": f"{error.code} {error.detail}".strip()}
    found = check_outputs(source, chosen.adapter, merged, rows, device.torch_name)
    return {
        "rows": len(rows), "exact": found.exact, "kl": found.stored.kl, "argmax": found.stored.argmax,
        "nll": found.stored.nll, "kl_unmerged": found.unmerged.kl, "argmax_unmerged": found.unmerged.argmax,
        "nll_unmerged": found.unmerged.nll,
    }  # fmt: skip
