"""`cogumi run train`: what it refuses, plans and makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from peft import PeftConfig
from typer.testing import CliRunner

from cogumi.cli.main import app
from cogumi.errors import CogumiError, InputError, RunError
from cogumi.store.artifacts import verify


def test_adapters_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: importing torch takes longer than all of it."""
    monkeypatch.chdir(tmp_path)

    def here(*arguments: str, command: str = "run") -> str:
        done = CliRunner().invoke(app, [command, *arguments])
        if done.exception is not None:
            raise done.exception
        return done.stdout if "--json" in arguments else done.output

    with pytest.raises(RunError, match="run-without-dataset"):
        here("train", "--no-prefect")
    with pytest.raises(RunError, match=r"no-gpu|gpu-too-small"):
        here("all", "--recipe", "spec-60k", "--set", "train.support=256", "--set", "train.query=256")
    assert not (tmp_path / "runs" / "spec-60k").exists(), "before a row is bought"
    here("dataset", "--no-prefect", "--json")
    with pytest.raises(RunError, match="run-without-base"):
        here("train", "--no-prefect")
    here("base", "--no-prefect", "--json")
    told = json.loads(here("train", "--dry-run", "--json"))
    assert told["steps"] == 6 and told["tokens"] > 6 * 8 * 30
    with pytest.raises(InputError, match="domain-empty"):
        here("train", "--dry-run", "--set", "train.support=9")
    quick = ["--set", "train.steps=1", "--set", "train.look_every=1", "--set", "train.sft_control=false"]
    made = json.loads(here("train", "--no-prefect", "--json", *quick))["stages"]["train_models"]
    assert made["steps"] == 1 and made["episodes"] == 8
    assert "train_models" in json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text())["stages"]
    adapts_to_examples(tmp_path, partial(here, command="adapt"))
    merges(tmp_path, partial(here, command="merge"), monkeypatch)
    trains_a_draft(tmp_path, here, quick)
    changes_all_stages(tmp_path / "runs" / "tiny", here, quick)


def trains_a_draft(folder: Path, run: Callable[..., str], trained_by: list[str]) -> None:
    """`cogumi run draft` for the merged model; afterwards the same again, shown to a reader. The recipe is the one that
    the adapters were trained by.
    """
    with pytest.raises(RunError, match=r"train: changed by cogumi run train --change"):
        run("draft", "--no-prefect")
    run = partial(_with, run, trained_by)
    told = json.loads(run("draft", "--dry-run", "--json"))
    assert (told["sft_steps"], told["distillation_steps"], told["control_steps"]) == (12, 12, 12)
    assert 1 < told["memory_gib"] < 2 and "12 steps on teacher text" in " ".join(run("draft", "--dry-run").split())
    with pytest.raises(InputError, match="model-not-allowed"):
        run("draft", "--no-prefect", "--set", "draft.model=nowhere")
    made = json.loads(run("draft", "--no-prefect", "--json"))["stages"]["train_draft"]
    assert made["target"] == "tiny/merged" and 0 < made["draft_alpha"] < 1
    stages = json.loads((folder / "runs" / "tiny" / "report.json").read_text())["stages"]
    assert stages["train_models"]["draft_acceptance_length"] == made["draft_acceptance_length"]
    assert {"adapt_seconds", "merge_max_rel_err"} <= stages["train_models"].keys()
    shown = run("draft", "--no-prefect")
    assert made["verdict"] in " ".join(shown.split()) and "unigram" in shown and "tokens per round" in shown


def changes_all_stages(folder: Path, run: Callable[..., str], made_by: list[str]) -> None:
    """A change of one stage that fails leaves everything as it was; `run all --change` carries it through the rest."""
    before = (folder / "run.json").read_bytes(), (folder / "report.json").read_bytes()
    with pytest.raises(InputError, match="tasks-too-few"):
        run("train", "--no-prefect", *made_by, "--set", "train.held_out_share=0.01", "--change")
    assert json.loads((folder / "run.json").read_text())["recipe"] == json.loads(before[0])["recipe"]
    assert (folder / "report.json").read_bytes() == before[1]
    told = json.loads(run("train", "--dry-run", "--json", *made_by, "--set", "train.steps=2"))
    assert {"key": "train.steps", "old": 1, "new": 2} in told["changes"] and told["finished"] is False
    run("all", "--no-prefect", "--json", *made_by, "--set", "train.steps=2", "--change")
    assert json.loads((folder / "adapter" / "receipt.json").read_text())["recipe"]["steps"] == 2
    assert json.loads((folder / "run.json").read_text())["recipe"]["train"]["steps"] == 2
    assert [path.name.partition("-")[0] for path in sorted((folder / "replaced").iterdir())] == [
        "adapter",
        "draft",
        "merged",
    ]
    resumed = json.loads(run("tiny", "--here", "--json", command="resume"))["stages"]
    assert set(resumed) == {"generate_dataset", "pretrain_base", "train_models", "train_draft", "validate_model"}
    assert resumed["train_models"]["steps"] == 2, "all stages, as `run all` was asked for them"


def _with(run: Callable[..., str], more: list[str], *arguments: str) -> str:
    return run(*arguments, *more)


def adapts_to_examples(folder: Path, adapt: Callable[..., str]) -> None:
    """`cogumi adapt` on rows of the run's own dataset."""
    rows = [
        json.loads(line) for line in (folder / "runs" / "tiny" / "dataset" / "train.jsonl").read_text().splitlines()
    ]
    mine = folder / "mine.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    told = json.loads(adapt("mine.jsonl", "--run", "tiny", "--force", "--json"))
    made = folder / "runs" / "tiny" / "adapted" / "mine"
    assert (told["examples"], told["gain_mean"], told["base"]) == (5, None, "tiny/base")
    assert verify(made)["stage"] == "adapt" and 0 < told["adapt_seconds"] < 60
    assert PeftConfig.from_pretrained(str(made)).base_model_name_or_path == "tiny/base"
    before = (made / "meta.safetensors").read_bytes()
    paths = ["--adapter", "runs/tiny/adapter", "--base", "runs/tiny/base", "--out", "elsewhere"]
    adapt("mine.jsonl", *paths, "--steps", "7", "--force")
    assert (folder / "elsewhere" / "meta.safetensors").read_bytes() != before, "more steps go further"
    adapt("mine.jsonl", *paths, "--force")
    assert (folder / "elsewhere" / "meta.safetensors").read_bytes() == before, "an adaptation may be made again"
    mine.write_text(
        "".join(json.dumps({"question": f"What is {n}?", "answer": "yes " * n}) + "\n" for n in range(1, 5))
    )
    adapt("mine.jsonl", "--run", "tiny", "--out", "elsewhere", "--force")
    for arguments, told_code in (
        (["mine.jsonl"], "adapter-not-named adapt"),
        (["mine.jsonl", "--run", "tiny", "--out", "runs"], "place-taken runs"),
        (["none.jsonl", "--run", "tiny"], "examples-unreadable none.jsonl: there is none"),
        (["mine.jsonl", "--run", "nobody"], "run-not-found"),
        (["mine.jsonl", *paths[2:], "--adapter", "runs/tiny/base"], "adapter-unreadable"),
    ):
        with pytest.raises(CogumiError) as refused:
            adapt(*arguments)
        assert f"{refused.value.code} {refused.value.detail}".startswith(told_code)
    for text, why in (
        ('{"prompt": "a", "response": "b"}\nnonsense\n', ":2: "),
        ('{"prompt": "a"}\n', ":1: no response or answer"),
        ('{"prompt": "a", "response": " "}\n', ":1: no response or answer"),
        ('{"prompt": "a", "response": "b", "draft": "c"}\n', ":1: a row has a draft without thinking"),
        (json.dumps({"prompt": "long", "response": "word " * 9000}) + "\n", ":1: 9"),
    ):
        mine.write_text(text)
        with pytest.raises(InputError, match="examples-unreadable") as broken:
            adapt("mine.jsonl", "--run", "tiny")
        assert why in broken.value.detail


def merges(folder: Path, merge: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`cogumi merge`: the run's adapter, then the one for a task."""
    told = json.loads(merge("--run", "tiny", "--json"))
    place = folder / "runs" / "tiny" / "merged"
    assert verify(place)["stage"] == "merge" and told["targets"] == 15 and told["rows"] == 3
    assert told["merge_max_rel_err"] <= 1e-6 and told["exact"] <= 1e-5 and told["kl"] <= 1e-6
    card = (place / "README.md").read_text()
    assert "base_model: tiny/base" in card and "Dataset: `tiny`" in card and "| meta, adapted |" in card
    assert verify(folder / "runs" / "tiny" / "adapter")["inputs"] in card, "the hash of its data"
    merge("--adapter", "runs/tiny/adapted/mine", "--base", "runs/tiny/base", "--out", "one")
    assert "rows" not in verify(folder / "one")["metrics"], "without a run there are no rows to try it on"
    with pytest.raises(InputError, match="place-taken"):
        merge("--run", "tiny", "--out", "runs")
    with pytest.raises(InputError, match="adapter-not-named"):
        merge("--base", "runs/tiny/base")
    monkeypatch.setenv("COGUMI_POOL", "gpu-h100")
    monkeypatch.setenv("COGUMI_GPU", "a card that nobody makes")
    told = json.loads(merge("--run", "tiny", "--out", "fresh", "--json"))
    assert "no-gpu" in told["outputs_not_compared"] or "gpu-of-another-kind" in told["outputs_not_compared"]
    assert told["targets"] == 15, "merged and checked all the same"
    monkeypatch.delenv("COGUMI_POOL")
    monkeypatch.delenv("COGUMI_GPU")
