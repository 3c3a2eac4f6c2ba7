"""The draft's stage on a real small dataset and target: what it publishes, how it goes on, what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import InputError, RunError
from cogumi.lm.chat import Encoded
from cogumi.lm.device import Device
from cogumi.lm.tokenizer import load_tokenizer, train_tokenizer
from cogumi.recipe import Recipe, load_recipe
from cogumi.store.artifacts import read_receipt
from cogumi.store.files import read_json, read_jsonl, sha256_of, write_json, write_jsonl
from cogumi.store.run_folder import RunFolder
from cogumi.training.adapters import ModelInput
from cogumi.training.base import DatasetInput, make_base
from cogumi.training.cards import card_of_artifact
from cogumi.training.claim import draft_memory_gib
from cogumi.training.draft import stage
from cogumi.training.draft.imitation import make_imitation
from cogumi.training.draft.stage import make_draft
from cogumi.training.fitting import Step
from cogumi.training.metrics import read_metrics
from cogumi.training.request import DraftRequest, fetch_target
from cogumi.training.stopping import Stop

CPU = Device("cpu", "CPU", "", simulated=False)
Made = tuple[Recipe, RunFolder, dict[str, Any]]
PARTS = {"sft": 12, "sft-control": 12, "offline": 8, "round-1": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The tiny recipe's dataset and base, and a draft for the base."""
    recipe = load_recipe("tiny", ["train=null", "dataset.split.test=0.2"])
    with RunFolder.open(tmp_path_factory.mktemp("runs"), "r", recipe) as folder:

        async def make() -> None:
            async with open_dataset_run(recipe, folder) as run:
                await generate(run, Plan.for_recipe(recipe))

        asyncio.run(make())
        make_base(recipe, folder, DatasetInput(folder.dataset, "r"), CPU)
        yield recipe, folder, draft_of(recipe, folder, folder)


def draft_of(recipe: Recipe, source: RunFolder, folder: RunFolder, **more: Any) -> dict[str, Any]:
    """Dataset and target of one run, the draft in another."""
    data, target = DatasetInput(source.dataset, "r"), ModelInput(str(source.path / "base"), "r/base")
    return make_draft(recipe, folder, data, target, CPU, **more)


def elsewhere(recipe: Recipe, tmp_path: Path) -> RunFolder:
    place = tmp_path / "other"
    place.mkdir()
    return RunFolder(place, recipe.name, resumed=False)


def weights_of(folder: RunFolder) -> bytes:
    return (folder.path / "draft" / "model.safetensors").read_bytes()


def test_it_reports_what_it_measured(made: Made) -> None:
    _, folder, figures = made
    receipt = read_receipt(folder.path / "draft")
    assert receipt is not None and receipt["stage"] == "train_draft" and receipt["metrics"] == figures
    assert {name: part["steps"] for name, part in figures["parts"].items()} == PARTS
    told = json.loads((folder.path / "draft" / "acceptance.json").read_text())
    assert told["rows"] == figures["table"] and len(told["rows"]) == 6
    (row,) = [row for row in told["rows"] if (row["draft"], row["decoding"]) == ("distilled", "sampled")]
    assert (row["alpha"], row["length"]) == (figures["draft_alpha"], figures["draft_acceptance_length"])
    lengths = [prompt["length"]["distilled, sampled"] for prompt in told["prompts"]]
    assert len(lengths) == figures["prompts"] and sum(lengths) / len(lengths) == pytest.approx(row["length"])
    steps = read_metrics(folder.path / "draft" / "metrics.jsonl")
    assert [(s["part"], s["step"]) for s in steps] == [
        (n, s) for n, count in PARTS.items() for s in range(1, count + 1)
    ]
    assert not list((folder.path / "checkpoints").iterdir())
    for decoding in ("sampled", "greedy"):
        domains = [row for row in figures["domains"] if row["decoding"] == decoding]
        (whole,) = [row for row in told["rows"] if (row["draft"], row["decoding"]) == ("distilled", decoding)]
        assert sum(row["prompts"] for row in domains) == figures["prompts"] and len(domains) > 1
        for name in ("alpha", "length"):
            assert sum(row[name] * row["prompts"] for row in domains) / figures["prompts"] == pytest.approx(whole[name])
        low, high = min(row["share"] for row in domains), max(row["share"] for row in domains)
        assert low - 1e-12 <= whole["share"] <= high + 1e-12


def test_transformers_reads_it_and_its_words_are_the_targets(made: Made) -> None:
    _, folder, figures = made
    draft, target = (AutoModelForCausalLM.from_pretrained(folder.path / name) for name in ("draft", "base"))
    assert sum(p.numel() for p in draft.parameters()) == figures["parameters"]
    assert draft.config.vocab_size == target.config.vocab_size
    assert draft.generation_config.eos_token_id == target.generation_config.eos_token_id
    tokenizer = AutoTokenizer.from_pretrained(folder.path / "draft")
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 2 + 2?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    plain, assisted = (
        target.generate(**ids, max_new_tokens=12, do_sample=False, **more) for more in ({}, {"assistant_model": draft})
    )
    assert torch.equal(plain, assisted), "the draft changes how fast, not what"


def test_what_it_is_judged_on_is_new_to_it(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe, folder, _ = made
    seen: dict[str, set[tuple[int, ...]]] = {}

    def train(draft: Any, target: Any, material: Any, *rest: Any) -> Any:
        seen["trained"] = {tuple(prompt) for prompt in material.prompts}
        assert len(material.rows) == len(list(read_jsonl(folder.dataset / "train.jsonl")))
        raise KeyboardInterrupt

    original = stage._questions

    def questions(items: Any, most: int, seed: int) -> Any:
        found = original(items, most, seed)
        seen.setdefault("judged", set()) if seen else seen.update(judged={tuple(q.prompt) for q in found})
        return found

    monkeypatch.setattr(stage, "train_draft", train)
    monkeypatch.setattr(stage, "_questions", questions)
    with pytest.raises(KeyboardInterrupt):
        draft_of(recipe, folder, elsewhere(recipe, tmp_path))
    assert seen["judged"] and seen["trained"] and not seen["judged"] & seen["trained"]


def test_prompts_are_dealt_domain_by_domain() -> None:
    items = [
        stage.Item(Encoded([1, number, 9], [0, 0, 1]), "", f"{domain}/x/easy", "")
        for domain, count in (("a", 30), ("b", 4))
        for number in range(count)
    ]
    found = stage._questions(items, 12, 0)
    assert [q.domain for q in found] == ["a", "b"] * 4 + ["a"] * 4
    assert found == stage._questions(items, 12, 0) != stage._questions(items, 12, 1)
    assert len(stage._questions(items, 1000, 0)) == 34


def test_it_is_taken_if_there_and_made_anew_where_anything_it_follows_from_is_another(
    made: Made, tmp_path: Path
) -> None:
    recipe, folder, figures = made
    told: list[int] = []
    assert draft_of(recipe, folder, folder, watch=lambda part, step: told.append(step.step)) == figures and not told
    other = load_recipe("tiny", ["train=null", "dataset.split.test=0.2", "draft.round_steps=5"])
    there = elsewhere(recipe, tmp_path)
    shutil.copytree(folder.path / "draft", there.path / "draft")
    assert draft_of(other, folder, there)["parts"]["round-1"]["steps"] == 5
    assert weights_of(there) != weights_of(folder)


def test_stopped_and_started_again_it_ends_with_the_same_bits(made: Made, tmp_path: Path) -> None:
    recipe, folder, figures = made
    there, stop = elsewhere(recipe, tmp_path), Stop()

    def watch(part: str, step: Step) -> None:
        if (part, step.step) == ("offline", 3):
            stop.ask()

    with pytest.raises(RunError, match="run-stopped"):
        draft_of(recipe, folder, there, watch=watch, stop=stop)
    assert not (there.path / "draft").exists()
    again = draft_of(recipe, folder, there)
    assert again["parts"]["offline"]["resumed_from"] == 3 and weights_of(there) == weights_of(folder)
    of_the_way = {"seconds": 0, "parts": 0, "written": 0}
    assert again | of_the_way == figures | of_the_way
    assert figures["written"].keys() == {"answers", "round-1-target"} and again["written"].keys() == {"round-1-target"}
    assert figures["written"]["answers"]["rows"] == 16 and figures["written"]["answers"]["tokens"] > 16


def test_the_target_as_its_own_draft_is_taken_whole(made: Made, tmp_path: Path) -> None:
    """A given model goes in as it is: with no step of training, the known-good end of the scale."""
    _, folder, _ = made
    none = ["draft.sft_steps=0", "draft.offline_steps=0", "draft.rounds=0", f"draft.model={folder.path / 'base'}"]
    recipe = load_recipe("tiny", ["train=null", "dataset.split.test=0.2", *none])
    figures = draft_of(recipe, folder, elsewhere(recipe, tmp_path))
    assert figures["parts"] == {} and figures["draft_alpha"] == pytest.approx(1, abs=1e-5)
    share = {(row["draft"], row["decoding"]): row["share"] for row in figures["table"]}
    assert share["distilled", "sampled"] == pytest.approx(1, abs=1e-4) and share["unigram", "sampled"] < 0.9
    assert figures["over_sft"]["greedy"] == {"mean": 0, "ci95": [0, 0]} and "no difference" in figures["verdict"]


def test_teacher_text_learned_elsewhere_gives_the_same_draft(made: Made, tmp_path: Path) -> None:
    """On another machine, beside the adapters: the draft that goes on from it has the same bits and tells of all parts."""
    recipe, folder, figures = made
    data, target = DatasetInput(folder.dataset, "r"), ModelInput(str(folder.path / "base"), "r/base")
    there = elsewhere(recipe, tmp_path)
    before = make_imitation(recipe, there, data, target, CPU)
    assert before["parts"].keys() == {"sft", "sft-control"} and not list((there.path / "checkpoints").iterdir())
    assert AutoModelForCausalLM.from_pretrained(there.path / "draft-sft").num_parameters() == figures["parameters"]
    seen: set[str] = set()
    imitation = ModelInput(str(there.path / "draft-sft"), "r-draft-sft@v0001")
    after = draft_of(recipe, folder, there, imitation=imitation, watch=lambda part, step: seen.add(part))
    assert seen == {"offline", "round-1"} and after["imitation"] == "r-draft-sft@v0001"
    assert weights_of(there) == weights_of(folder) and after["table"] == figures["table"]
    assert {name: part["steps"] for name, part in after["parts"].items()} == PARTS
    steps = read_metrics(there.path / "draft" / "metrics.jsonl")
    assert len(steps) == sum(PARTS.values()) and list(after["parts"]) == list(PARTS)


def test_a_base_and_a_draft_and_its_first_part_have_cards(made: Made, tmp_path: Path) -> None:
    recipe, folder, figures = made
    data, target = DatasetInput(folder.dataset, "r"), ModelInput(str(folder.path / "base"), "r/base")
    there = elsewhere(recipe, tmp_path)
    make_imitation(recipe, there, data, target, CPU)
    for place, told in (
        (folder.path / "base", "nats per token"), (folder.path / "draft", "tokens a round"), (there.path / "draft-sft", "sft 12 steps"),
    ):  # fmt: skip
        receipt = read_receipt(place)
        assert receipt is not None
        card = card_of_artifact("mine", receipt)
        assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"
        assert told in card and receipt["inputs"] in card and "Dataset: `r`" in card and "# mine" in card
    assert f"{figures['parameters']:,} parameters" in card_of_artifact(
        "mine", {**receipt, "metrics": receipt["metrics"]}
    )


def test_teacher_text_of_another_draft_is_not_taken(made: Made, tmp_path: Path) -> None:
    recipe, folder, _ = made
    there = elsewhere(recipe, tmp_path)
    data, target = DatasetInput(folder.dataset, "r"), ModelInput(str(folder.path / "base"), "r/base")
    other = load_recipe("tiny", ["train=null", "dataset.split.test=0.2", "draft.sft_steps=3"])
    make_imitation(other, there, data, target, CPU)
    imitation = ModelInput(str(there.path / "draft-sft"), "other")
    figures = draft_of(recipe, folder, there, imitation=imitation)
    assert "imitation" not in figures and weights_of(there) == weights_of(folder)


def test_teacher_text_stopped_goes_on(made: Made, tmp_path: Path) -> None:
    recipe, folder, _ = made
    data, target = DatasetInput(folder.dataset, "r"), ModelInput(str(folder.path / "base"), "r/base")
    there, stop = elsewhere(recipe, tmp_path), Stop()
    with pytest.raises(RunError, match=r"run-stopped.*sft-control"):
        make_imitation(
            recipe, there, data, target, CPU, lambda part, step: stop.ask() if part == "sft-control" else None, stop
        )
    figures = make_imitation(recipe, there, data, target, CPU)
    assert figures["parts"]["sft-control"]["resumed_from"] == 1
    whole = tmp_path / "whole"
    whole.mkdir()
    make_imitation(recipe, RunFolder(whole, "r", resumed=False), data, target, CPU)
    for name in ("model.safetensors", "control.safetensors"):
        assert (there.path / "draft-sft" / name).read_bytes() == (whole / "draft-sft" / name).read_bytes(), name


def test_a_draft_of_other_words_gets_the_targets(made: Made, tmp_path: Path) -> None:
    recipe, folder, _ = made
    foreign = tmp_path / "foreign"
    shutil.copytree(folder.path / "base", foreign)
    (foreign / "receipt.json").unlink()
    train_tokenizer(["other words altogether, and other pieces"], load_tokenizer(foreign).vocab_size).save(foreign)
    there, fixed = elsewhere(recipe, tmp_path), ["train=null", "dataset.split.test=0.2", f"draft.model={foreign}"]
    figures = draft_of(load_recipe("tiny", fixed), folder, there)
    target = read_json(folder.path / "base" / "config.json")
    counts = figures["transplant"]
    assert sum(counts[kind] for kind in ("same", "spelled", "stand_in", "unknown")) == target["vocab_size"]
    assert counts["same"] >= 256 and counts["spelled"] > 0, "single bytes are the same, most other words are not"
    draft = AutoTokenizer.from_pretrained(there.path / "draft")
    assert draft.get_vocab() == AutoTokenizer.from_pretrained(folder.path / "base").get_vocab()
    assert read_json(there.path / "draft" / "config.json")["vocab_size"] == target["vocab_size"]


def test_a_draft_of_the_targets_words_keeps_its_rows(made: Made, tmp_path: Path) -> None:
    recipe, folder, _ = made
    same = ["train=null", "dataset.split.test=0.2", f"draft.model={folder.path / 'base'}"]
    none = ["draft.sft_steps=0", "draft.sft_control=false", "draft.offline_steps=0", "draft.rounds=0"]
    there = elsewhere(recipe, tmp_path)
    figures = draft_of(load_recipe("tiny", same + none), folder, there)
    assert "transplant" not in figures and figures["draft_alpha_greedy"] == 1
    weights = (load_file(at.path / name / "model.safetensors") for at, name in ((there, "draft"), (folder, "base")))
    assert all(torch.equal(one, other) for one, other in zip(*(w.values() for w in weights), strict=True))


@pytest.mark.parametrize("left", [0, 1])
def test_few_held_out_prompts_conclude_nothing(made: Made, tmp_path: Path, left: int) -> None:
    _, folder, _ = made
    none = ["draft.sft_steps=0", "draft.sft_control=false", "draft.offline_steps=0", "draft.rounds=0"]
    recipe = load_recipe("tiny", ["train=null", "dataset.split.test=0.2", f"draft.model={folder.path / 'base'}", *none])
    few = elsewhere(recipe, tmp_path)
    shutil.copytree(folder.dataset, few.dataset)
    rows = list(read_jsonl(few.dataset / "test.jsonl"))[:left]
    receipt = read_json(few.dataset / "receipt.json")
    del receipt["files"]["test.jsonl"]
    (few.dataset / "test.jsonl").unlink()
    if rows:
        write_jsonl(few.dataset / "test.jsonl", rows)
        size = (few.dataset / "test.jsonl").stat().st_size
        receipt["files"]["test.jsonl"] = {"sha256": sha256_of(few.dataset / "test.jsonl"), "bytes": size}
    write_json(few.dataset / "receipt.json", receipt)
    data, target = DatasetInput(few.dataset, "r"), ModelInput(str(folder.path / "base"), "r/base")
    figures = make_draft(recipe, few, data, target, CPU)
    assert (figures["prompts"], figures["held_out_tasks"], figures["concludes"]) == (left, left, False)
    assert figures["verdict"] == f"no conclusion: too few tasks ({left})"
    assert all(row["length_ci95"] == row["alpha_ci95"] == [None, None] for row in figures["table"])
    assert all((row[name] is None) == (not left) for row in figures["table"] for name in ("alpha", "length", "share"))
    assert make_draft(recipe, few, data, target, CPU) == figures, "the same when it is read again"
    card = card_of_artifact("mine", read_json(few.path / "draft" / "receipt.json"))
    assert f"too few tasks ({left})" in card and ("too few prompts (0)" in card) == (not left)


def test_without_a_training_row_a_draft_is_refused(made: Made, tmp_path: Path) -> None:
    recipe, folder, _ = made
    few = elsewhere(recipe, tmp_path)
    shutil.copytree(folder.dataset, few.dataset)
    (few.dataset / "train.jsonl").unlink()
    receipt = read_json(few.dataset / "receipt.json")
    del receipt["files"]["train.jsonl"]
    write_json(few.dataset / "receipt.json", receipt)
    data, target = DatasetInput(few.dataset, "r"), ModelInput(str(folder.path / "base"), "r/base")
    for make in (make_draft, make_imitation):
        with pytest.raises(InputError, match=r"corpus-unreadable.*no row in train"):
            make(recipe, few, data, target, CPU)


def test_a_tokenizer_of_another_kind_is_refused_before_anything_is_trained(made: Made, tmp_path: Path) -> None:
    recipe, folder, _ = made
    foreign = tmp_path / "foreign"
    shutil.copytree(folder.path / "base", foreign)
    (foreign / "receipt.json").unlink()
    Tokenizer(models.WordPiece({"[UNK]": 0, "word": 1}, unk_token="[UNK]")).save(str(foreign / "tokenizer.json"))
    named = load_recipe("tiny", ["train=null", "dataset.split.test=0.2", f"draft.model={foreign}"])
    with pytest.raises(InputError, match=r"tokenizer-of-another-kind.*WordPiece"):
        draft_of(named, folder, elsewhere(recipe, tmp_path), watch=lambda part, step: pytest.fail("it was trained"))


def test_a_limit_that_leaves_no_row_is_refused(made: Made, tmp_path: Path) -> None:
    recipe, folder, _ = made
    short = load_recipe("tiny", ["train=null", "dataset.split.test=0.2", "draft.max_seq_length=8"])
    with pytest.raises(InputError, match=r"example-too-long.*max_seq_length = 8"):
        draft_of(short, folder, elsewhere(recipe, tmp_path), watch=lambda part, step: pytest.fail("it was trained"))


def test_the_target_is_the_runs_merged_model_or_its_base_and_never_a_base_that_has_an_adapter(
    made: Made, tmp_path: Path
) -> None:
    recipe, folder, _ = made
    request = DraftRequest(run="r", root=str(tmp_path), overrides=["train=null"])
    there = elsewhere(recipe, tmp_path)
    with pytest.raises(RunError, match="run-without-base"):
        fetch_target(request, there, None)
    for name, expected in (("base", "base"), ("adapter", ""), ("merged", "merged")):
        shutil.copytree(folder.path / "base", there.path / name)
        if expected:
            assert fetch_target(request, there, None) == (str(there.path / expected), f"{recipe.name}/{expected}")
        else:
            with pytest.raises(RunError, match="run-without-merged"):
                fetch_target(request, there, None)
    named = DraftRequest(run="r", root=str(tmp_path), overrides=["draft.target=/somewhere"])
    assert fetch_target(named, there, None) == ("/somewhere", "/somewhere")


def test_memory_grows_with_target_and_draft() -> None:
    eight = load_recipe("spec-60k")
    target = "meta-llama/Llama-3.1-8B-Instruct"
    assert 30 < draft_memory_gib(eight) == draft_memory_gib(eight, target) < 75, (
        "a 1B draft for 8B fits one card of 80 GB"
    )
    saved = draft_memory_gib(eight) - draft_memory_gib(eight, "meta-llama/Llama-3.2-1B")
    assert saved == pytest.approx(2 * (8.03e9 - 1.24e9) / 2**30, rel=0.01) and draft_memory_gib(load_recipe("tiny")) < 2


def test_a_recipe_without_a_model_to_propose_to_is_refused() -> None:
    with pytest.raises(InputError, match=r"draft\.target names no model"):
        load_recipe("tiny", ["base=null", "train=null"])
