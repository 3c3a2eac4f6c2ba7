"""Meta-training by a team: torchrun --nproc-per-node 2 -m tests.unit.training.team_child FOLDER VARIANT...

A variant is FORM/ALGORITHM/BUDGET/DTYPE; its end is left in FOLDER/VARIANT/, with "/" as "-", and the share of layer
weights that each process holds in FOLDER/VARIANT/share-RANK. FOLDER/model is what form `loaded` reads.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from cogumi.store.files import write_json
from cogumi.training import meta_train
from cogumi.training.algorithms import Algorithm, Inner
from cogumi.training.body import Keep, LlamaBody
from cogumi.training.gain import query_losses
from cogumi.training.head import OutputHead
from cogumi.training.lora import LoraShape
from cogumi.training.meta_train import MetaTrained
from cogumi.training.sharded import in_parts, load_in_parts
from cogumi.training.team import Team, joined
from tests.unit.training.models import llama
from tests.unit.training.test_meta_train import HELD_OUT, SCHEDULE, train

STEPS = 5


def run(place: Path, variant: str, team: Team) -> tuple[MetaTrained, int]:
    """Three tasks a step, so that two processes have two and one. What came of it, and how many weights of layers this
    process holds.
    """
    form, algorithm, budget, dtype = variant.split("/")
    model = llama(getattr(torch, dtype), layers=2)
    if form == "loaded" and team.size > 1:
        model = load_in_parts(place / "model", getattr(torch, dtype), team)
    elif form not in ("whole", "short") and team.size > 1:
        model = in_parts(model, team)
    if form.startswith("short") and team.rank == 0 and team.size > 1:
        _short_of_memory()
    keep = Keep.INPUTS if form == "checkpointed" else Keep.EVERYTHING
    body = LlamaBody(model, LoraShape(4, 8), keep=keep, team=team)
    schedule = replace(SCHEDULE, steps=STEPS, look_every=2, probe=3, token_budget=int(budget) or None)
    done = train(place / variant.replace("/", "-"), schedule, Inner(Algorithm(algorithm), 2, 1.0), body=body)
    if not Algorithm(algorithm).all_fast:  # fewer episodes than processes
        head, inner = OutputHead(body, 4, 8, on_hidden=True), Inner(Algorithm(algorithm), 2, 1.0)
        few = query_losses(body, head, done.weights, HELD_OUT[:1], inner, int(budget) or None)
        write_json(place / variant.replace("/", "-") / f"few-{team.rank}", few.tolist())
    weights = [w.to_local() if isinstance(w, DTensor) else w for w in model.model.layers.parameters()]
    return done, sum(weight.numel() for weight in weights)


def _short_of_memory() -> None:
    """From here on this process has room for one task at once."""
    whole = meta_train.meta_loss

    def loss(body: Any, head: Any, weights: Any, episodes: Any, inner: Any) -> Any:
        if len(episodes) > 1:
            raise torch.OutOfMemoryError("two tasks at once")
        return whole(body, head, weights, episodes, inner)

    meta_train.meta_loss = loss


def main() -> None:
    """Every variant, one after the other."""
    torch.set_num_threads(1)
    with joined("cpu") as team:
        for variant in sys.argv[2:]:
            done, held = run(Path(sys.argv[1]), variant, team)
            assert done.finished and done.step == STEPS
            (Path(sys.argv[1]) / variant.replace("/", "-") / f"share-{team.rank}").write_text(str(held))


if __name__ == "__main__":
    main()
