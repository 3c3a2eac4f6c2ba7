"""A small meta-training in a process of its own: python -m tests.torture.meta_child FOLDER prints a hash of the weights."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.unit.training.test_meta_train import SCHEDULE, train


def main() -> None:
    """Train from the folder's newest checkpoint to the end."""
    torch.set_num_threads(1)
    done = train(Path(sys.argv[1]), replace(SCHEDULE, steps=9, look_every=3), dropout=0.1)
    digest = hashlib.sha256()
    for part in (done.weights.slow, done.weights.head, done.weights.rates):
        for weight in part.values():
            digest.update(weight.detach().numpy().tobytes())
    assert done.finished
    sys.stdout.write(digest.hexdigest())


if __name__ == "__main__":
    main()
