"""The adapters' stage by a team of two, as the recipe asks for it: the same adapter, watched, stopped, killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import InputError, RunError
from cogumi.lm.device import Card, Device, claim_device, visible_cards
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ModelInput, make_adapter
from cogumi.training.base import DatasetInput, make_base
from cogumi.training.claim import adapter_memory_gib
from cogumi.training.meta_train import MetaStep
from cogumi.training.metrics import read_metrics
from cogumi.training.stopping import Stop, interruptible
from cogumi.training.together import train_together

CPU = Device("cpu", "CPU", "", simulated=False)
TWO = ["train.processes=2"]
HANG_S = 300  # three processes that import torch, beside whatever else the machine does


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The tiny recipe's dataset and base."""
    recipe = load_recipe("tiny")
    with RunFolder.open(tmp_path_factory.mktemp("runs"), "r", recipe) as folder:

        async def make() -> None:
            async with open_dataset_run(recipe, folder) as run:
                await generate(run, Plan.for_recipe(recipe))

        asyncio.run(make())
        make_base(recipe, folder, DatasetInput(folder.dataset, "r"), CPU)
        return folder


@pytest.fixture(scope="module")
def alone(source: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    folder = RunFolder(tmp_path_factory.mktemp("alone"), "r", resumed=False)
    return folder, make_adapter(load_recipe("tiny"), folder, *inputs(source), CPU)


def inputs(source: RunFolder) -> tuple[DatasetInput, ModelInput]:
    return DatasetInput(source.dataset, "r"), ModelInput(str(source.path / "base"), "r/base")


def tiny(*overrides: str) -> Recipe:
    return load_recipe("tiny", [*TWO, *overrides])


def weights_of(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.path / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("parts", [False, True], ids=["whole", "in parts"])
def test_two_make_the_adapter_of_one(
    source: RunFolder, alone: tuple[RunFolder, dict[str, Any]], tmp_path: Path, parts: bool
) -> None:
    folder, steps = RunFolder(tmp_path, "r", resumed=False), list[tuple[str, MetaStep]]()
    recipe = tiny("train.shard_base=true") if parts else tiny()
    figures = train_together(recipe, folder, *inputs(source), CPU, lambda arm, step: steps.append((arm, step)))
    assert figures["processes"] == 2 and alone[1]["processes"] == 1 and figures["resumed_bit_exact"] is True
    for name, weight in weights_of(alone[0]).items():
        torch.testing.assert_close(weights_of(folder)[name], weight, rtol=0, atol=1e-5)
    for key in ("loss_first", "loss_last", "gain_mean"):
        assert figures[key] == pytest.approx(alone[1][key], abs=1e-4), key
    assert [(arm, step.step) for arm, step in steps] == [(arm, n) for arm in ("meta", "sft") for n in range(1, 7)]
    assert len(read_metrics(tmp_path / "adapter" / "meta.jsonl")) == 6, "the second one writes nothing"
    assert not list((tmp_path / "checkpoints").iterdir()) and not (tmp_path / "team.json").exists()
    assert train_together(recipe, folder, *inputs(source), CPU) == figures, "what is there is taken"


def test_asked_to_stop_they_finish_the_step_and_one_may_go_on(
    source: RunFolder, alone: tuple[RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    folder, stop = RunFolder(tmp_path, "r", resumed=False), Stop()
    recipe, seen = tiny("train.steps=400"), list[int]()

    def watch(arm: str, step: MetaStep) -> None:
        seen.append(step.step)
        if step.step == 5:
            stop.ask()

    with pytest.raises(RunError, match=r"run-stopped.*meta, step"):
        train_together(recipe, folder, *inputs(source), CPU, watch, stop)
    assert 5 <= seen[-1] < 400
    (place,) = (tmp_path / "checkpoints").glob("*/meta")
    assert max(place.glob("step-*")).name == f"step-{seen[-1]:08d}", "no step was lost"
    again, one = Stop(), list[int]()

    def first(arm: str, step: MetaStep) -> None:
        one.append(step.step)
        again.ask()

    with pytest.raises(RunError, match="run-stopped"):
        make_adapter(load_recipe("tiny", ["train.steps=400"]), folder, *inputs(source), CPU, first, again)
    assert one == [seen[-1] + 1], "another number of processes goes on where they were"


def test_an_error_of_whoever_watches_stops_them_and_is_raised(source: RunFolder, tmp_path: Path) -> None:
    seen: list[int] = []

    def watch(arm: str, step: MetaStep) -> None:
        seen.append(step.step)
        raise ZeroDivisionError("in a progress bar")

    with pytest.raises(ZeroDivisionError, match="progress bar"):
        train_together(endless(), RunFolder(tmp_path, "r", resumed=False), *inputs(source), CPU, watch)
    assert seen == [1] and not team_of(tmp_path)


def test_where_their_parent_is_killed_so_are_they_and_the_next_run_goes_on(source: RunFolder, tmp_path: Path) -> None:
    child = [sys.executable, "-m", "tests.unit.training.test_together", str(source.path), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(child, cwd=root, env=environment)
    wait_for(lambda: list((tmp_path / "checkpoints").glob("*/meta/step-*[1-9]")))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not team_of(tmp_path))
    done = max((tmp_path / "checkpoints").glob("*/meta/step-*")).name
    stop, seen = Stop(), list[int]()

    def watch(arm: str, step: MetaStep) -> None:
        seen.append(step.step)
        stop.ask()

    with pytest.raises(RunError, match="run-stopped"):
        train_together(endless(), RunFolder(tmp_path, "r", resumed=True), *inputs(source), CPU, watch, stop)
    assert seen[0] == int(done.removeprefix("step-")) + 1


def test_sigterm_to_the_parent_saves_the_step(source: RunFolder, tmp_path: Path) -> None:
    child = [sys.executable, "-m", "tests.unit.training.test_together", str(source.path), str(tmp_path)]
    parent = subprocess.Popen(child, cwd=Path(__file__).parents[3], env={**os.environ, "OMP_NUM_THREADS": "1"})
    metrics = wait_for(lambda: [f for f in tmp_path.glob("checkpoints/*/meta.jsonl") if len(read_metrics(f)) > 1])
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(HANG_S) == 143
    assert not team_of(tmp_path)
    (place,) = (tmp_path / "checkpoints").glob("*/meta")
    assert max(place.glob("step-*")).name == f"step-{read_metrics(metrics[0])[-1]['step']:08d}"


def test_what_goes_wrong_in_a_process_is_said_by_its_name(source: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r", resumed=False)
    with pytest.raises(InputError, match=r"support-too-small|domain-empty|tasks-too-few"):
        train_together(tiny("train.support=9", "train.query=9"), folder, *inputs(source), CPU)
    broken = ModelInput(str(tmp_path / "nowhere"), "no")
    with pytest.raises(InputError, match="model-not-allowed"):
        train_together(tiny(), folder, inputs(source)[0], broken, CPU)


def test_a_process_that_dies_without_a_word_is_told_with_the_end_of_its_log(
    source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif os.environ.get('RANK') == '1':\n    sys.stderr.write('the second gives up')\n    os._exit(9)\n"
    )
    with pytest.raises(RunError, match=r"(?s)processes-died.*exit 1"):
        train_together(tiny(), RunFolder(tmp_path, "r", resumed=False), *inputs(source), CPU)
    assert "the second gives up" in (tmp_path / "team.log").read_text()


def test_recipes_that_cannot_be_shared_out_are_refused() -> None:
    for overrides in (
        ["train.processes=3"],
        ["train.shard_base=true"],
        [*TWO, "train.shard_base=true", "train.algorithm=maml"],
        [*TWO, "train.shard_base=true", "train.head.kind=last_layers"],
    ):
        with pytest.raises(InputError, match="recipe-bad-value"):
            load_recipe("tiny", overrides)


def test_cards_are_claimed_together_and_the_freest_are_named() -> None:
    cards = [Card(0, "H100", 80, 10), Card(1, "H100", 80, 70), Card(2, "H100", 80, 60), Card(3, "A100", 80, 80)]
    h100 = {"COGUMI_GPU": "H100", "COGUMI_POOL": "gpu-h100"}

    def look() -> list[Card]:
        return cards

    assert claim_device(50, count=2, environment=h100, look=look).torch_name == "cuda:1"
    assert visible_cards(2, h100, look) == ["1", "2"]
    assert visible_cards(2, {**h100, "CUDA_VISIBLE_DEVICES": "7,6,5,4"}, look) == ["6", "5"]
    with pytest.raises(RunError, match=r"gpu-too-small.*10\.0 of 80"):
        claim_device(50, count=3, environment=h100, look=look)
    with pytest.raises(RunError, match=r"gpus-too-few.*3 of H100, 4 needed"):
        claim_device(5, count=4, environment=h100, look=look)


def test_a_base_in_parts_needs_less_of_each_card() -> None:
    big = ["train.base=meta-llama/Llama-3.1-8B-Instruct"]
    whole, parts = (adapter_memory_gib(tiny(*big, *more)) for more in ((), ("train.shard_base=true",)))
    assert whole - parts == pytest.approx(6.98e9 / 2**30, rel=0.01), "half of the layers, 2 bytes each"


def wait_for(what: Any) -> Any:
    end = time.monotonic() + HANG_S
    while not (found := what()):
        assert time.monotonic() < end, "never came"
        time.sleep(0.02)
    return found


def team_of(folder: Path) -> list[int]:
    """Processes that work on a folder's job."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder / "team.json").encode() in words:
            found.append(int(place.name))
    return found


def endless() -> Recipe:
    return tiny("train.steps=100000", "train.look_every=1")


def main() -> None:
    """The parent that is hurt: trains until it is ended."""
    torch.set_num_threads(1)
    folder, source = RunFolder(Path(sys.argv[2]), "r", resumed=False), RunFolder(Path(sys.argv[1]), "r", resumed=True)
    interruptible(lambda stop: train_together(endless(), folder, *inputs(source), CPU, stop=stop))


if __name__ == "__main__":
    main()
