"""Record learn2learn's meta-gradients: python -m tests.golden.make_learn2learn FOLDER

FOLDER is an unpacked source distribution of learn2learn 0.2.0 (its compiled parts do not build any more; what is needed of
it is plain Python). Three inner steps on the tanh network and points of tests/unit/training/test_parity.py, fp64.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch

from tests.unit.training.test_parity import GOLDEN, RATE, STEPS, inputs, network


def load_maml(folder: Path) -> Any:
    """learn2learn.algorithms.maml.MAML without the package's own import, which needs the compiled parts."""
    root = folder / "learn2learn"
    for name in ("learn2learn", "learn2learn.algorithms"):
        package = types.ModuleType(name)
        package.__path__ = [str(root / name.partition(".")[2])]
        sys.modules[name] = package
    for name, file in (
        ("learn2learn.utils", root / "utils" / "__init__.py"),
        ("learn2learn.algorithms.base_learner", root / "algorithms" / "base_learner.py"),
        ("learn2learn.algorithms.maml", root / "algorithms" / "maml.py"),
    ):
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules["learn2learn.algorithms.maml"].MAML


def main() -> None:
    """Write the golden file."""
    maml, found = load_maml(Path(sys.argv[1])), {}
    for first_order in (False, True):
        model = network()
        (sx, sy), (qx, qy) = inputs()
        learner = maml(model, lr=RATE, first_order=first_order)
        clone = learner.clone()
        for _ in range(STEPS):
            clone.adapt((clone(sx) - sy).pow(2).mean())
        (clone(qx) - qy).pow(2).mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        found["fomaml" if first_order else "maml"] = gradient.tolist()
    GOLDEN.write_text(json.dumps({"learn2learn": "0.2.0", "torch": torch.__version__, "gradients": found}) + "\n")


if __name__ == "__main__":
    main()
