"""`cogumi adapt EXAMPLES`: a few examples of a task, and an adapter for it, in seconds."""

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
from cogumi.cli.output import JsonOption, print_json, say, say_done
from cogumi.cli.progress import progress
from cogumi.lm.device import device_label
from cogumi.metrics.formatting import Sample, counted, interval, number
from cogumi.recipe import content_hash
from cogumi.store.artifacts import new_artifact
from cogumi.store.files import read_json, sha256_of

_STAGE = "adapt"


def adapt(
    examples: Path = typer.Argument(help="JSON lines with prompt and response, all of one task; two or more."),
    run: str = RunOption,
    adapter: Path | None = AdapterOption,
    base: str = BaseOption,
    out: Path | None = typer.Option(None, "--out", "-o", help="Folder to write; default: adapted/NAME in the run's."),
    steps: int | None = typer.Option(
        None, "--steps", min=1, help="Steps of gradient descent; default: as in training."
    ),
    force: bool = typer.Option(False, "--force", help="Adapt also where the examples do not help each other."),
    root: Path = RootOption,
    as_json: bool = JsonOption,
) -> None:
    """Adapt to examples of one task, and write the adapter for it as a folder that PEFT reads."""
    chosen = choose("adapt", run, adapter, base, root)
    place = out or (chosen.folder / "adapted" / examples.stem if chosen.folder else Path(f"{examples.stem}-adapter"))
    check_place(place, _STAGE)
    with progress("adapt"):
        told = _made(examples, chosen, place, steps, force)
    if as_json:
        print_json(told)
        return
    say_done(
        f"{counted(told['examples'], 'example')}, {counted(told['steps'], 'step')} in "
        f"{number(told['adapt_seconds'], '.2f')} s on {device_label(told['device'])}"
    )
    if told["gain_mean"] is not None:
        of, ends = Sample(told["examples"], "examples"), (told["gain_low"], told["gain_high"])
        gain = f"{number(told['gain_mean'], '+.3f')} nats per token ({interval(ends, '+.3f', of)})"
        say(f"  left out in turn, an example gains {gain}")
    say(f"  adapter: {place}")


def _made(examples: Path, chosen: Chosen, place: Path, steps: int | None, force: bool) -> dict[str, Any]:
    import torch

    from cogumi.lm.model import load_chat_tokenizer, model_folder
    from cogumi.training.adapt import adapt as adapted_to
    from cogumi.training.adaptable import open_adaptable
    from cogumi.training.examples import read_examples
    from cogumi.training.merged import device_for

    adapter = chosen.adapter
    check_adapter(adapter)
    source = model_folder(chosen.base)
    config = read_json(source / "config.json")
    tokenizer = load_chat_tokenizer(source, int(config["vocab_size"]))
    rows = read_examples(examples, tokenizer, chosen.form, int(config["max_position_embeddings"]))
    device = device_for(source, bytes_a_weight=2)
    arithmetic = torch.bfloat16 if device.torch_name.startswith("cuda") else torch.float32
    model = open_adaptable(str(source), adapter, arithmetic, device.torch_name)
    adaptation = adapted_to(model, rows, steps, check=not force)
    inputs = content_hash([sha256_of(examples), sha256_of(adapter / "meta.safetensors"), model.base, steps])
    with new_artifact(place, _STAGE, inputs, {"steps": steps, "force": force}, 0) as draft:
        adaptation.save(draft.path)
        gain = adaptation.gain
        draft.metrics |= {
            "examples": len(rows), "steps": steps or model.inner.steps, "base": model.base,
            "gain_mean": gain and gain.mean, "gain_low": gain and gain.low, "gain_high": gain and gain.high,
            "adapt_seconds": round(adaptation.seconds, 4), "device": device.to_json(),
        }  # fmt: skip
    return {"adapter": str(place), **draft.metrics}
