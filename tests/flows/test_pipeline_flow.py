"""The whole road through Prefect, in one process: phases hand each other artifact ids, and again reuse all of it."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Crashed, Failed

from blocks import RecipeBlock
from cogumi.cli.stack import kept
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import InputError, RunError
from cogumi.store.artifacts import read_receipt
from cogumi.store.run_folder import RunFolder
from cogumi.store.versions import Versions
from cogumi.system.request import PipelineRequest
from cogumi.training.request import BaseRequest, DraftRequest, ImitationRequest, TrainRequest, fetch_target
from cogumi.training.watching import WATCHER
from flows.generate_dataset import generate_dataset
from flows.pipeline import pipeline
from flows.pretrain_base import pretrain_base
from flows.train_draft import train_draft
from flows.train_draft_sft import train_draft_sft
from flows.train_models import train_models
from tasks.dispatch import raise_unless_completed, somebody_works
from tests.torture.oracle import check_money

pytestmark = pytest.mark.flows


async def artifact(key: str) -> str:
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    assert found, key
    return json.dumps(found[-1].model_dump(mode="json"))


async def test_the_tiny_recipe_from_questions_to_a_model_and_again(root: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    data = DatasetRequest(dataset="road", period="p1", root=str(root), versions=store)
    request = PipelineRequest(dataset=data, dispatch="local")
    watched: set[str] = set()
    WATCHER.set(lambda what, step: watched.add(what))
    made = await pipeline(request)
    parts = {"sft", "sft-control", "offline", "round-1"}
    assert watched == {"base", "meta", *parts}, "whoever watches in a terminal sees training through Prefect too"
    assert made == {
        "generate-dataset": "road@v0001",
        "pretrain-base": "road-base@v0001",
        "train-models": "road-adapter@v0001",
        "train-draft": "road-draft@v0001",
        "check-benchmarks": "road-suite@v0001",
        "validate-model": "road-validation@v0001",
    }
    folder = root / "road-p1"
    paid = check_money(folder)
    receipt = read_receipt(folder / "base")
    assert receipt is not None and receipt["metrics"]["dataset"] == "road@v0001" and receipt["metrics"]["learned"]
    assert not receipt["metrics"]["device"]["simulated"]
    model = Versions(store, "road-base").get()
    assert model.run == "road-p1" and "model.safetensors" in model.files
    phases = await artifact("road-p1-phases")
    assert "road-base@v0001" in phases and "road@v0001" in phases and "road-adapter@v0001" in phases
    assert "data:image/svg+xml" in await artifact("road-p1-base-loss")
    assert (await artifact("road-p1-adapter-loss")).count("data:image/svg+xml") == 2, "both arms"
    adapter = read_receipt(folder / "adapter")
    assert adapter is not None and adapter["metrics"]["base"] == "road-base@v0001"
    assert adapter["metrics"]["verdict"] in await artifact("road-p1-adapter-comparison")
    assert "gain_ci95" in await artifact("road-p1-adapter")
    draft = read_receipt(folder / "draft")
    assert draft is not None and draft["metrics"]["target"] == "road-merged@v0001"
    assert draft["metrics"]["verdict"] in await artifact("road-p1-draft-acceptance")
    assert "draft_acceptance_length" in await artifact("road-p1-draft")
    assert {*Versions(store, "road-draft").get().files} >= {"model.safetensors", "tokenizer.json", "acceptance.json"}
    report = json.loads((folder / "report.json").read_text())["stages"]
    assert report["generate_dataset"]["rows"] == 80 and report["pretrain_base"]["learned"]
    assert report["train_models"]["resumed_bit_exact"] and report["train_models"]["gain_mean"] is not None
    models = report["train_models"]
    assert models["merge_max_rel_err"] < 1e-6 and 0 < models["draft_alpha"] < 1 < models["draft_acceptance_length"] < 6
    assert models["merge"]["targets"] + models["merge"]["untouched"] > 20 and models["merge"]["exact"] <= 1e-5
    page = unescape((folder / "report.html").read_text())
    assert f"Merged with its base: {models['merge']['targets']} tensors are W + s B A" in page
    assert f"by {models['merge']['exact']:.2g} of the largest in fp32" in page and "Adapting to the examples" in page
    assert "<h2>Adapter</h2>" in page and adapter["metrics"]["verdict"].lower() in page.lower()
    assert "Held-out loss by learning rate: meta" in page
    validation = report["validate_model"]
    assert validation["names"] == ["base", "trained", "merged", "draft"] and validation["contaminated"] == 0
    assert validation["verdict_of"] == ["merged", "base"] and validation["verdict"] in (
        "better",
        "worse",
        "inconclusive",
    )
    merged, trained = (validation["models"][name]["nll"] for name in ("merged", "trained"))
    assert merged == pytest.approx(trained, rel=1e-5), "the same model, merged and not"
    assert f"Merged over base: {validation['verdict']}" in page and "Bits a byte by domain" in page
    assert "merged over base" in await artifact("road-p1-validation-comparisons")
    assert {"comparison.json", "scores/merged.jsonl"} <= {*Versions(store, "road-validation").get().files}
    assert {"validation_test.jsonl", "recorded.json"} <= {*Versions(store, "road-suite").get().files}
    assert "<h2>Draft model</h2>" in page and draft["metrics"]["verdict"].lower() in page.lower()
    assert "Base model" in page and "it has learned from context" in page and "Training loss by step" in page
    assert PipelineRequest.kept(folder).dataset.period == "p1"

    assert await pipeline(request) == made, "again: the same ids"
    assert check_money(folder).received == paid.received, "and nothing bought"
    again = read_receipt(folder / "base")
    assert again is not None and again["created"] == receipt["created"], "and nothing trained"
    again = read_receipt(folder / "adapter")
    assert again is not None and again["created"] == adapter["created"]
    again = read_receipt(folder / "draft")
    assert again is not None and again["created"] == draft["created"]
    kept = read_receipt(folder / "validation")
    assert kept is not None and kept["metrics"]["models"] == validation["models"], "and nothing scored"


async def test_nothing_is_trained_on_a_dataset_that_holds_a_benchmark(root: Path, tmp_path: Path) -> None:
    """A benchmark's file with a question that the dataset has: what the pipeline makes next is a refusal."""
    data = DatasetRequest(dataset="spoiled", period="p1", root=str(root), versions=str(tmp_path / "store"))
    await generate_dataset(data)
    rows = [json.loads(line) for line in (root / "spoiled-p1" / "dataset" / "train.jsonl").read_text().splitlines()]
    file = tmp_path / "gsm8k.jsonl"
    held = [row["prompt"] for row in rows[:3]]
    file.write_text("".join(json.dumps({"question": text, "answer": "#### 1"}) + "\n" for text in held))
    spoiled = data.model_copy(update={"overrides": [f"validation.benchmarks.gsm8k={file}"]})
    with pytest.raises(RunError, match="training-contaminated") as refused:
        await pipeline(PipelineRequest(dataset=spoiled, dispatch="local"))
    assert "3 of" in str(refused.value) and not (root / "spoiled-p1" / "base").exists()
    assert {
        json.loads(line)["how"] for line in (root / "spoiled-p1" / "contaminated.jsonl").read_text().splitlines()
    } == {"exact"}


async def test_a_recipe_without_a_base_ends_after_the_dataset(root: Path, tmp_path: Path) -> None:
    data = DatasetRequest(
        dataset="short", period="p1", root=str(root), versions=str(tmp_path / "store"),
        overrides=["base=null", "train=null", "draft=null", "dataset.cells={math: {easy: 4}}"],
    )  # fmt: skip
    assert await pipeline(PipelineRequest(dataset=data, dispatch="local")) == {"generate-dataset": "short@v0001"}


async def test_a_recipe_block_serves_all_phases(root: Path, tmp_path: Path) -> None:
    steps = ["base.steps=7", "base.warmup_steps=2", "dataset.split.validation=0.2", "train=null", "draft=null"]
    await RecipeBlock(preset="tiny", overrides=steps).asave("seven-steps", overwrite=True)
    data = DatasetRequest(
        dataset="by-block", period="p1", root=str(root), versions=str(tmp_path / "store"), recipe_block="seven-steps"
    )
    await pipeline(PipelineRequest(dataset=data, dispatch="local"))
    assert Versions(str(tmp_path / "store"), "by-block-base").get().metrics["steps"] == 7


async def test_teacher_text_is_learned_by_a_flow_of_its_own_and_the_draft_goes_on_from_it(
    root: Path, tmp_path: Path
) -> None:
    """As the pipeline does on two pools: with the base's tokenizer alone, before there is a merged model."""
    store, short = str(tmp_path / "store"), ["train=null"]
    data = DatasetRequest(dataset="two", period="p1", root=str(root), versions=store, overrides=[*short, "draft=null"])
    await pipeline(PipelineRequest(dataset=data, dispatch="local"))
    asked = PipelineRequest(dataset=data.model_copy(update={"overrides": short, "run": "two-p1"}))
    first = train_draft_sft(asked.imitation("v0001", "two-base@v0001"))
    assert first["artifact"] == "two-draft-sft@v0001" and "sft-control" in await artifact("two-p1-draft-sft")
    figures = train_draft(asked.draft("v0001", "two-base@v0001", "two-draft-sft@v0001"))
    assert figures["imitation"] == "two-draft-sft@v0001" and figures["parts"].keys() > first["parts"].keys()
    alone = train_draft(asked.draft("v0001", "two-base@v0001").model_copy(update={"run": "two-alone"}))
    assert alone["table"] == figures["table"] and "imitation" not in alone


async def test_a_pool_is_asked_only_where_somebody_works(root: Path, tmp_path: Path) -> None:
    """Without a worker for A100 the draft learns teacher text itself: a pipeline would wait for ever."""
    assert not await somebody_works("train-draft-sft/a100")
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="gpu-a100", type="process"))
        flow_id = await client.create_flow(train_draft_sft)
        await client.create_deployment(flow_id=flow_id, name="a100", work_pool_name="gpu-a100")
        assert not await somebody_works("train-draft-sft/a100")
        await client.send_worker_heartbeat(work_pool_name="gpu-a100", worker_name="w", heartbeat_interval_seconds=30)
        assert await somebody_works("train-draft-sft/a100")


def test_words_are_those_of_a_base_that_the_recipe_names(tmp_path: Path) -> None:
    """Where neither merged model nor base lie in the run yet."""
    named = ["train.base=meta-llama/Llama-3.1-8B-Instruct", "base=null"]
    request = ImitationRequest(run="r", root=str(tmp_path), overrides=named)
    folder = RunFolder(tmp_path, "r", resumed=False)
    assert fetch_target(request, folder, None)[0] == "meta-llama/Llama-3.1-8B-Instruct"
    with pytest.raises(RunError, match="run-without-base"):
        fetch_target(DraftRequest(run="r", root=str(tmp_path), overrides=named), folder, None)


def test_a_run_is_resumed_as_what_it_was_started_as(tmp_path: Path) -> None:
    """The pipeline before its dataset; a model alone; a dataset alone."""
    data, base = DatasetRequest(run="r", root=str(tmp_path)), BaseRequest(run="r", root=str(tmp_path))
    train = TrainRequest(run="r", root=str(tmp_path), base="some-base@v0002")
    with RunFolder.open(tmp_path, "r", data.load()) as folder:
        base.keep(folder.path)
        assert kept(folder.path) == ("pretrain-base/h100", base)
        train.keep(folder.path)
        assert kept(folder.path) == ("train-models/h100", train)
        words = ImitationRequest(run="r", root=str(tmp_path), target="some-base@v0002")
        words.keep(folder.path)
        assert kept(folder.path) == ("train-draft-sft/a100", words)
        draft = DraftRequest(run="r", root=str(tmp_path), target="some-merged@v0002")
        draft.keep(folder.path)
        assert kept(folder.path) == ("train-draft/h100", draft)
        data.keep(folder.path)
        assert kept(folder.path) == ("generate-dataset/on-demand", data)
        whole = PipelineRequest(dataset=data)
        whole.keep(folder.path)
        assert kept(folder.path) == ("pipeline/on-demand", whole)


def test_a_key_in_an_override_is_refused_before_anything_is_stored() -> None:
    with pytest.raises(ValueError, match="looks like an API key"):
        BaseRequest(overrides=["purpose=sk-canary-0123456789abcdefg"])


def test_a_gpu_pool_without_a_gpu_refuses_before_anything_is_loaded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this process as a worker of the pool; where a card is there, one of another kind is asked for."""
    monkeypatch.setenv("COGUMI_POOL", "gpu-h100")
    monkeypatch.setenv("COGUMI_GPU", "a card that nobody makes")
    with pytest.raises(RunError, match=r"no-gpu|gpu-of-another-kind"):
        pretrain_base(BaseRequest(dataset="never-looked-for", root=str(root)))
    assert not root.exists()
    with pytest.raises(InputError, match="stage-not-in-recipe"):
        pretrain_base(BaseRequest(overrides=["base=null", "train=null", "draft=null"], root=str(root)))
    with pytest.raises(RunError, match=r"no-gpu|gpu-of-another-kind"):
        train_models(TrainRequest(root=str(root)))
    assert not root.exists()


@pytest.mark.parametrize(
    ("state", "code"), [(Failed(message="out of ideas"), "phase-failed"), (Cancelled(), "phase-failed"),
                        (Crashed(message="gone"), "phase-crashed")],
)  # fmt: skip
def test_a_child_that_does_not_complete_raises(state: object, code: str) -> None:
    run = FlowRun.model_construct(name="base-x", state=state)
    with pytest.raises(RunError, match=rf"{code}[\s\S]*pretrain-base/h100"):
        raise_unless_completed("pretrain-base/h100", run)
    raise_unless_completed("pretrain-base/h100", FlowRun.model_construct(name="base-x", state=Completed()))
