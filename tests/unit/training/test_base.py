"""The base stage on a real small dataset: what it publishes loads elsewhere, and its control can tell a model that has
learned from one that has not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import InputError, RunError
from cogumi.lm.chat import PLAIN
from cogumi.lm.device import Device
from cogumi.lm.tokenizer import load_tokenizer
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.artifacts import read_receipt
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.training.base import DatasetInput, make_base
from cogumi.training.claim import memory_gib, section_of
from cogumi.training.corpus import read_corpus
from cogumi.training.metrics import METRICS, read_metrics
from cogumi.training.pretrain import validation_nll
from cogumi.training.request import BaseRequest, fetch_dataset

CPU = Device("cpu", "CPU", "", simulated=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Recipe, RunFolder, dict[str, object]]]:
    """The tiny recipe's dataset and base model."""
    recipe = load_recipe("tiny", ["dataset.split.validation=0.15", "train=null", "draft=null"])
    with RunFolder.open(tmp_path_factory.mktemp("runs"), "r", recipe) as folder:

        async def make() -> None:
            async with open_dataset_run(recipe, folder) as run:
                await generate(run, Plan.for_recipe(recipe))

        asyncio.run(make())
        yield recipe, folder, make_base(recipe, folder, DatasetInput(folder.dataset, "r"), CPU)


def test_it_has_learned_and_says_what_it_cost(made: tuple[Recipe, RunFolder, dict[str, object]]) -> None:
    recipe, folder, figures = made
    assert figures["learned"] and figures["nll_last"] < figures["nll_unigram"] - 0.5  # type: ignore[operator]
    assert figures["device"] == {"torch_name": "cpu", "name": "CPU", "pool": "", "simulated": False}
    receipt = read_receipt(folder.path / "base")
    assert receipt is not None and receipt["metrics"] == figures and receipt["stage"] == "pretrain_base"
    steps = read_metrics(folder.path / "base" / METRICS)
    assert [row["step"] for row in steps] == list(range(1, section_of(recipe).steps + 1))
    assert not list((folder.path / "checkpoints").iterdir()), "what is published needs no checkpoint"


def test_what_is_published_is_read_by_transformers_and_scores_the_same(
    made: tuple[Recipe, RunFolder, dict[str, object]],
) -> None:
    recipe, folder, figures = made
    model = AutoModelForCausalLM.from_pretrained(folder.path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder.path / "base")
    ours = load_tokenizer(folder.path / "base")
    assert tokenizer("What is 2 + 2?", add_special_tokens=False)["input_ids"] == ours.encode("What is 2 + 2?")
    assert ours.eot in model.generation_config.eos_token_id and model.config.vocab_size % 64 == 0
    corpus = read_corpus(folder.dataset, [], ours, PLAIN)
    found = validation_nll(model, corpus.validation, section_of(recipe).seq_length, "cpu")
    assert found == pytest.approx(figures["nll_last"], rel=1e-5)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], add_generation_prompt=True)
    ids = torch.tensor([prompt["input_ids"] if not isinstance(prompt, list) else prompt])
    assert model.generate(ids, max_new_tokens=5, do_sample=False).shape[1] <= ids.shape[1] + 5


def test_the_control_tells_a_model_that_has_learned_nothing(
    made: tuple[Recipe, RunFolder, dict[str, object]], tmp_path: Path
) -> None:
    """Known bad: one step of training. The control must say so, else it could not say anything."""
    _, folder, _ = made
    recipe = load_recipe("tiny", ["base.steps=1", "train=null", "draft=null"])
    with RunFolder.open(tmp_path, "bad", recipe) as other:
        figures = make_base(recipe, other, DatasetInput(folder.dataset, "r"), CPU)
    assert figures["learned"] is False


def test_a_model_that_is_there_is_taken_and_a_damaged_one_is_made_again(
    made: tuple[Recipe, RunFolder, dict[str, object]],
) -> None:
    recipe, folder, figures = made
    data = DatasetInput(folder.dataset, "r")

    def never(step: object) -> None:
        raise AssertionError("trained again")

    assert make_base(recipe, folder, data, CPU, never) == figures
    weights = folder.path / "base" / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    again = make_base(recipe, folder, data, CPU)
    assert weights.read_bytes() == before, "the same recipe and data give the same bits"
    assert again["nll_last"] == figures["nll_last"]


def test_a_shorter_training_after_a_longer_one_shows_its_own_curve(
    made: tuple[Recipe, RunFolder, dict[str, object]], tmp_path: Path
) -> None:
    _, folder, _ = made
    data = DatasetInput(folder.dataset, "r")
    for steps in (9, 4):
        recipe = load_recipe("tiny", [f"base.steps={steps}", "base.warmup_steps=2"])
        with RunFolder.open(tmp_path, "again", recipe) as other:
            assert make_base(recipe, other, data, CPU)["steps"] == steps
        assert [row["step"] for row in read_metrics(other.path / "base" / METRICS)] == list(range(1, steps + 1))


def test_a_published_dataset_is_fetched_by_its_id(
    made: tuple[Recipe, RunFolder, dict[str, object]], tmp_path: Path
) -> None:
    recipe, folder, _ = made
    store = Versions(str(tmp_path / "store"), "small")
    store.publish(folder.dataset, "r")
    request = BaseRequest(dataset="small@v0001", store=str(tmp_path / "store"), root=str(tmp_path / "runs")).named()
    assert request.run == "small-v0001" and (request.name, request.version) == ("small", "v0001")
    with RunFolder.open(tmp_path / "runs", request.run, recipe) as other:
        place, artifact_id = fetch_dataset(request, other, store)
        assert artifact_id == "small@v0001"
        untouched = (place / "train.jsonl").stat().st_mtime_ns
        (place / "validation.jsonl").write_text("damaged")
        fetch_dataset(request, other, store)
        assert (place / "train.jsonl").stat().st_mtime_ns == untouched, "what is there is not fetched again"
        assert (place / "validation.jsonl").read_bytes() == (folder.dataset / "validation.jsonl").read_bytes()
        assert (place / "train.jsonl").read_bytes() == (folder.dataset / "train.jsonl").read_bytes()
        with pytest.raises(RunError, match="version-not-found"):
            fetch_dataset(request.model_copy(update={"dataset": "small@v0009"}), other, store)
        with pytest.raises(RunError, match="run-without-dataset"):
            fetch_dataset(request, other, None)


def test_bad_sections_are_refused_before_anything_is_loaded() -> None:
    for override in ("base.heads=5", "base.kv_heads=3", "base.hidden_size=20", "base.steps=0"):
        with pytest.raises(InputError, match="recipe-bad-value"):
            load_recipe("tiny", [override])
    with pytest.raises(InputError, match="stage-not-in-recipe"):
        section_of(load_recipe("tiny", ["base=null", "train=null", "draft=null"]))


def test_the_memory_that_is_asked_for_covers_the_state_and_grows_with_the_model() -> None:
    small = section_of(load_recipe("tiny"))
    large = section_of(load_recipe("tiny", ["base.hidden_size=4096", "base.layers=32", "base.intermediate_size=14336"]))
    assert 1 < memory_gib(small, 4096) < 1.5
    assert memory_gib(large, 128256) > 7.5e9 * 16 / 2**30
