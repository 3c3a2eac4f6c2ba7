"""`cogumi merge`: base and adapter as one model, checked tensor by tensor, with its card."""

from __future__ import annotations

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
)
from cogumi.cli.output import JsonOption, print_json, say, say_done, warn
from cogumi.cli.progress import progress
from cogumi.metrics.formatting import number, percent

_STAGE = "merge"


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
    with progress("merge"):
        told = _made(chosen, place)
    if as_json:
        print_json(told)
        return
    say_done(
        f"{told['targets']} tensors changed (largest error {number(told['merge_max_rel_err'], '.2g')}), "
        f"{told['untouched']} as they were"
    )
    if "rows" in told:
        say(
            f"  {told['rows']} rows: KL {number(told['kl'], '.2g')} nats, other first choices "
            f"{percent(told['argmax'], '.2%')} (unmerged {number(told['kl_unmerged'], '.2g')}, "
            f"{percent(told['argmax_unmerged'], '.2%')})"
        )
    if "outputs_not_compared" in told:
        warn("outputs were not compared", told["outputs_not_compared"])
    say(f"  model: {place}")


def _made(chosen: Chosen, place: Path) -> dict[str, Any]:
    from cogumi.training.merged import Pair, held_out_of, make_merged

    check_adapter(chosen.adapter)
    held_out = held_out_of(chosen.folder / "dataset", chosen.base, chosen.form) if chosen.folder else None
    return {"model": str(place), **make_merged(Pair(chosen.adapter, chosen.base), place, held_out)}
