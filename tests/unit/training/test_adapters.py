"""The stage of adapters on a real small dataset and base: what it publishes, how it goes on, what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import InputError, RunError, StorageError
from cogumi.lm.device import Device
from cogumi.lm.model import load_llama
from cogumi.lm.stored import output_matrix
from cogumi.lm.tokenizer import load_tokenizer
from cogumi.recipe import Recipe, load_recipe, train_preset_names
from cogumi.recipe.training import AlgorithmName, HeadName, ModuleName, TrackerName
from cogumi.report.build import write_report
from cogumi.store.artifacts import read_receipt
from cogumi.store.run_folder import RunFolder
from cogumi.training import adapters, tensor_file
from cogumi.training.adapter import load_adapter
from cogumi.training.adapters import ModelInput, make_adapter
from cogumi.training.algorithms import Algorithm
from cogumi.training.arms import META, SFT, new_bench, with_best_rate
from cogumi.training.base import DatasetInput, make_base
from cogumi.training.claim import adapter_memory_gib, claim_for_adapters, shape_of_model
from cogumi.training.lora import MODULES
from cogumi.training.meta_train import MetaStep
from cogumi.training.metrics import read_metrics
from cogumi.training.plan import plan_training, split_by_recipe
from cogumi.training.stopping import Stop
from cogumi.training.trackers import KINDS

CPU = Device("cpu", "CPU", "", simulated=False)
Made = tuple[Recipe, RunFolder, dict[str, Any]]
KEYS = {"loss_first", "loss_last", "gain_mean", "gain_ci95", "sft_gain_mean", "in_context_gain_mean", "tokens_per_s",
        "seconds", "resumed_bit_exact"}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The tiny recipe's dataset, base and adapter."""
    recipe = load_recipe("tiny")
    with RunFolder.open(tmp_path_factory.mktemp("runs"), "r", recipe) as folder:

        async def make() -> None:
            async with open_dataset_run(recipe, folder) as run:
                await generate(run, Plan.for_recipe(recipe))

        asyncio.run(make())
        make_base(recipe, folder, DatasetInput(folder.dataset, "r"), CPU)
        yield recipe, folder, adapter_of(recipe, folder, folder)


def adapter_of(recipe: Recipe, source: RunFolder, folder: RunFolder, **more: Any) -> dict[str, Any]:
    """Dataset and base of one run, the adapter in another."""
    data, base = DatasetInput(source.dataset, "r"), ModelInput(str(source.path / "base"), "r/base")
    return make_adapter(recipe, folder, data, base, CPU, **more)


def test_it_reports_what_it_measured(made: Made) -> None:
    _, folder, figures = made
    assert figures.keys() >= KEYS and figures["resumed_bit_exact"] is True
    receipt = read_receipt(folder.path / "adapter")
    assert receipt is not None and receipt["stage"] == "train_models" and receipt["metrics"] == figures
    assert figures["gain_ci95"][0] <= figures["gain_mean"] <= figures["gain_ci95"][1]
    told = json.loads((folder.path / "adapter" / "comparison.json").read_text())
    before, after = (torch.tensor(told["losses"][f"meta, {way}"]) for way in ("as it is", "adapted"))
    assert len(after) == figures["episodes"] == 8
    assert float((before - after).mean()) == pytest.approx(figures["gain_mean"])
    for arm in (META, SFT):
        assert [row["step"] for row in read_metrics(folder.path / "adapter" / f"{arm}.jsonl")] == list(range(1, 7))
    assert not list((folder.path / "checkpoints").iterdir())


def test_nothing_that_is_trained_on_judges_and_the_base_has_not_seen_it(made: Made) -> None:
    recipe, folder, _ = made
    split = split_by_recipe(recipe, folder.dataset, load_tokenizer(folder.path / "base"))
    parts = [{item.question for items in part.values() for item in items}
             for part in (split.training, split.validation, split.test)]  # fmt: skip
    assert all(parts) and not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert parts[1] | parts[2] <= split.apart and not parts[0] & split.apart
    base = read_receipt(folder.path / "base")
    assert base is not None and base["metrics"]["rows_apart"] == len(split.apart)


def test_peft_reads_what_is_published_and_so_do_we(made: Made) -> None:
    recipe, folder, _ = made
    assert recipe.train is not None
    model = load_llama(str(folder.path / "base"), torch.float32, "cpu")
    bench = new_bench(recipe.train, model, recipe.seed)
    weights = load_adapter(folder.path / "adapter", bench.body, bench.head)
    assert any(bool(weight.any()) for name, weight in weights.slow.items() if name.endswith(".B"))
    theirs = PeftModel.from_pretrained(
        load_llama(str(folder.path / "base"), torch.float32, "cpu"), folder.path / "adapter"
    )
    assert theirs.peft_config["default"].r == 4


def test_an_adapter_that_is_there_is_taken_and_other_settings_make_another(made: Made, tmp_path: Path) -> None:
    recipe, folder, figures = made

    def never(arm: str, step: MetaStep) -> None:
        raise AssertionError("trained again")

    assert adapter_of(recipe, folder, folder, watch=never) == figures
    priced = load_recipe("tiny", ["train.usd_per_hour=2", "train.trackers=[tensorboard]"])
    assert adapter_of(priced, folder, folder, watch=never) == figures, "what changes no weight makes no other adapter"
    other = load_recipe(
        "tiny", ["train.steps=3", "train.look_every=1", "train.sft_control=false", "train.compare_episodes=0"]
    )
    with RunFolder.open(tmp_path, "other", other) as fresh:
        told = adapter_of(other, folder, fresh)
    assert told["steps"] == 3 and "table" not in told and not (fresh.path / "adapter" / "sft.jsonl").exists()


def test_each_arm_stands_with_the_best_of_its_learning_rates(made: Made, tmp_path: Path) -> None:
    _, source, figures = made
    recipe = load_recipe(
        "tiny", ["train.sweep=[1, 16]", "train.steps=12", "train.look_every=6", "train.compare_episodes=2"]
    )
    with RunFolder.open(tmp_path, "rates", recipe) as folder:
        told = adapter_of(recipe, source, folder)
    assert [list(losses) for losses in figures["losses_by_rate"].values()] == [["0.0005"], ["0.0005"]]
    for arm, losses in told["losses_by_rate"].items():
        best = min(losses, key=losses.__getitem__)
        shown = list(read_metrics(folder.path / "adapter" / f"{arm}.jsonl"))
        assert max(row["learning_rate"] for row in shown) == pytest.approx(float(best))
        assert list(losses) == ["0.0005", "0.008"] and losses["0.008"] != losses["0.0005"]
    assert told["loss_last"] == min(told["losses_by_rate"]["meta"].values())


def test_a_rate_that_diverges_does_not_cost_the_others(made: Made, tmp_path: Path) -> None:
    _, source, _ = made
    short = ["train.learning_rate=1", "train.steps=8", "train.look_every=4", "train.look_episodes=2"]
    short.append("train.compare_episodes=2")
    recipe = load_recipe("tiny", [*short, "train.sweep=[100, 0.0005]"])
    with RunFolder.open(tmp_path, "one", recipe) as folder:
        told = adapter_of(recipe, source, folder)
    assert told["losses_by_rate"]["meta"] == {"100": None, "0.0005": told["loss_last"]}
    shutil.copytree(source.path, tmp_path / "page")
    shutil.rmtree(tmp_path / "page" / "adapter")
    shutil.copytree(tmp_path / "one" / "adapter", tmp_path / "page" / "adapter")
    write_report(tmp_path / "page")
    assert "diverged at 100" in (tmp_path / "page" / "report.html").read_text()
    recipe = load_recipe("tiny", [*short, "train.sweep=[100]"])
    with RunFolder.open(tmp_path, "all", recipe) as folder, pytest.raises(RunError, match="training-diverged"):
        adapter_of(recipe, source, folder)
    with pytest.raises(InputError, match="each multiple once"):
        load_recipe("tiny", ["train.sweep=[1, 1.0]"])


def test_trained_in_bf16_as_on_a_gpu_it_is_folded_with_the_base_as_it_is_stored(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source, _ = made
    monkeypatch.setattr(adapters, "_loaded", lambda section, base, *_: load_llama(str(base), torch.bfloat16, "cpu"))
    recipe = load_recipe("tiny", ["train.head.kind=final_hidden", "train.steps=2"])
    with RunFolder.open(tmp_path, "bf16", recipe) as folder:
        adapter_of(recipe, source, folder)
    up = load_file(folder.path / "adapter" / "meta.safetensors")["head/head.B"]
    folded = load_file(folder.path / "adapter" / "adapter_model.safetensors")["base_model.model.lm_head.lora_B.weight"]
    stored = output_matrix(source.path / "base")
    assert up.any() and relative(folded, stored @ up) < 1e-6 < 1e-4 < relative(folded, stored.bfloat16().float() @ up)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("after", [("meta", 4), ("sft", 2)])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(made: Made, tmp_path: Path, after: tuple[str, int]) -> None:
    recipe, source, figures = made
    stop = Stop()

    def watch(arm: str, step: MetaStep) -> None:
        if (arm, step.step) == after:
            stop.ask()

    with RunFolder.open(tmp_path, "r2", recipe) as folder:
        with pytest.raises(RunError, match=f"run-stopped[\\s\\S]*{after[0]}, step {after[1]}"):
            adapter_of(recipe, source, folder, watch=watch, stop=stop)
        assert not (folder.path / "adapter").exists()
        again = adapter_of(recipe, source, folder)
    assert again["resumed_from"] == (after[1] if after[0] == META else 6)
    one, other = (load_file(f.path / "adapter" / "meta.safetensors") for f in (source, folder))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    assert again["gain_mean"] == figures["gain_mean"] and again["table"] == figures["table"]


def test_a_full_disk_in_mid_training_is_named_and_nothing_is_lost(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the third save, as safetensors tells it (test_tensor_file has a disk that is really full)."""
    recipe, source, figures = made
    saves = 0

    def full(tensors: Any, place: Any) -> None:
        nonlocal saves
        saves += 1
        if saves == 3:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, place)

    with RunFolder.open(tmp_path, "full", recipe) as folder:
        monkeypatch.setattr(tensor_file, "save_file", full)
        with pytest.raises(StorageError, match="disk-full"):
            adapter_of(recipe, source, folder)
        monkeypatch.undo()
        again = adapter_of(recipe, source, folder)
    assert again["resumed_from"] == 3 and again["gain_mean"] == figures["gain_mean"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (["train.max_seq_length=40"], "example-too-long"),
        (["train.support=9"], "domain-empty"),
        (["train.tasks_per_step=200"], "tasks-too-few"),
        (["train.domains=[math]", "train.held_out_share=0.01"], "tasks-too-few"),
    ],
)
def test_what_rows_cannot_give_is_said_before_the_model_is_loaded(
    made: Made, tmp_path: Path, changes: list[str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source, _ = made
    monkeypatch.setattr("cogumi.training.adapters.load_llama", None)
    recipe = load_recipe("tiny", changes)
    with RunFolder.open(tmp_path, "bad", recipe) as folder, pytest.raises(InputError, match=code):
        adapter_of(recipe, source, folder)


def test_a_base_that_cannot_be_used_is_named(made: Made, tmp_path: Path) -> None:
    recipe, source, _ = made
    base = tmp_path / "base"

    def tried(code: str) -> None:
        with RunFolder.open(tmp_path, "bad", recipe) as folder, pytest.raises(InputError, match=code):
            make_adapter(recipe, folder, DatasetInput(source.dataset, "r"), ModelInput(str(base), "bad"), CPU)
        shutil.rmtree(base)

    def copied() -> Path:
        shutil.copytree(source.path / "base", base)
        (base / "receipt.json").unlink()
        return base

    weights = load_file(copied() / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    tried("model-not-finite")
    config = json.loads((copied() / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    tried("chat-template-missing")
    (copied() / "config.json").write_text('{"model_type": "mamba"}')
    tried("model-unsupported")
    with pytest.raises(InputError, match="model-not-allowed"):
        load_llama("somebody/llama", torch.float32, "cpu")


@pytest.mark.parametrize("name", train_preset_names())
def test_every_preset_trains(made: Made, tmp_path: Path, name: str) -> None:
    """Its algorithm, head and LoRA on a small model, in sizes that few rows allow."""
    _, source, _ = made
    small = ["support=2", "query=2", "tasks_per_step=2", "steps=2", "look_every=2", "compare_episodes=2", "lora.rank=4", "inner.steps=1",
             "head.rank=4", "sft_control=false"]  # fmt: skip
    recipe = load_recipe("tiny", [f"train.preset={name}", *(f"train.{change}" for change in small)])
    with RunFolder.open(tmp_path, name, recipe) as folder:
        figures = adapter_of(recipe, source, folder)
    assert figures["preset"] == name and figures["steps"] == 2 and figures["resumed_bit_exact"]


@pytest.mark.parametrize("change", ["algorithm=maml", "algorithm=anil_cross", "head.kind=last_layers"])
def test_every_algorithm_and_head_trains(made: Made, tmp_path: Path, change: str) -> None:
    _, source, _ = made
    short = [
        "train.steps=2",
        "train.look_every=2",
        "train.sft_control=false",
        "train.inner.steps=1",
        "train.compare_episodes=2",
    ]
    recipe = load_recipe("tiny", [f"train.{change}", *short])
    with RunFolder.open(tmp_path, "r", recipe) as folder:
        assert adapter_of(recipe, source, folder)["resumed_bit_exact"]


def test_the_rate_of_a_control_is_the_best_of_those_tried(made: Made) -> None:
    recipe, folder, _ = made
    assert recipe.train is not None
    plan = plan_training(recipe, folder.dataset, load_tokenizer(folder.path / "base"))
    bench = new_bench(recipe.train, load_llama(str(folder.path / "base"), torch.float32, "cpu"), 1)
    weights, rate = with_best_rate(bench, bench.fresh, plan.validation, 4096)
    assert all(bool((tensor == rate).all()) for tensor in weights.rates.values()) and 0.003 < rate <= 10


def test_names_in_recipes_are_those_of_the_code() -> None:
    assert list(AlgorithmName.__args__) == list(Algorithm) and list(ModuleName.__args__) == list(MODULES)
    assert set(TrackerName.__args__) == set(KINDS) and set(HeadName.__args__) == {
        "lm_head_lora",
        "final_hidden",
        "last_layers",
    }


def test_memory_is_planned_by_the_model_and_8b_is_not_trained_on_a_cpu(tmp_path: Path) -> None:
    """Measured at 8B with everything kept: 45.5 GiB for four episodes at once, 15 of them the base."""
    spec = load_recipe("spec-60k")
    assert 7.9e9 < shape_of_model(spec).parameters < 8.1e9
    assert 24 < adapter_memory_gib(spec) < 45.5
    inputs = load_recipe("spec-60k", ["train.keep=inputs"])
    assert 16 < adapter_memory_gib(inputs) < 21.3
    with pytest.raises(RunError, match=r"no-gpu|gpu-too-small"):
        claim_for_adapters(load_recipe("spec-60k", ["train.support=256", "train.query=256"]))
    with pytest.raises(InputError, match="model-unreadable"):
        claim_for_adapters(load_recipe("tiny", [f"train.base={tmp_path}"]))
