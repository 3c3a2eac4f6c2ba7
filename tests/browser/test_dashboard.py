"""What a person reads of a pipeline on Prefect's dashboard: phases, shards, a retry, tables, plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cogumi.store.artifacts import read_receipt
from cogumi.store.versions import Versions
from deployments.local_server import free_port
from deployments.stack import down, up
from docs.screenshots import RUN, SHARD, flow_run, photograph, run_with_a_retry
from tests.browser.driving import Person, person

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[tuple[str, str]]:
    """(address, flow run) of a site on which the tiny pipeline has run, one of its shards failing once."""
    home = folder / ".cogumi"
    try:
        root = up(home, {"port": free_port(), "work": str(folder), "simulate": True}).site.root
        yield root, run_with_a_retry(root, folder)
    finally:
        down(home, grace_s=2)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    with person(tmp_path_factory.mktemp("browser"), size="1500,1300") as made:
        yield made


def artifact(root: str, key: str) -> str:
    found = httpx.post(f"{root}/api/artifacts/filter", json={"limit": 200}, timeout=120).json()
    (one,) = [row["id"] for row in found if row["key"] == key]
    return f"{root}/artifacts/artifact/{one}"


def test_a_pipeline_shows_its_phases(site: tuple[str, str], user: Person) -> None:
    root, run = site
    user.opens(f"{root}/runs/flow-run/{run}")
    user.sees(f"pipeline-{RUN}", "Completed", "Subflow Runs", "Task Runs")
    user.clicks_tab("Subflow Runs")
    user.sees(f"dataset-{RUN}", f"base-{RUN}", f"train-{RUN}")
    user.opens(artifact(root, f"{RUN}-phases"))
    user.sees("generate-dataset", "pictured@v0001", "pretrain-base", "pictured-base@v0001", "CPU (simulated)")
    user.sees("train-models", "pictured-adapter@v0001", "validate-model", "pictured-validation@v0001")


def test_each_phase_ran_on_its_pool_and_says_that_it_was_simulated(site: tuple[str, str], folder: Path) -> None:
    root, _ = site
    data = flow_run(root, f"dataset-{RUN}")
    assert {"cogumi", "dataset", f"run:{RUN}", "provider:loopback"} <= set(data["tags"])
    pools = {
        "base": "gpu-h100",
        "train": "gpu-h100",
        "draft-sft": "gpu-a100",
        "draft": "gpu-h100",
        "validate": "gpu-h100",
    }
    runs = {phase: flow_run(root, f"{phase}-{RUN}") for phase in pools}
    named = {"flow_runs": {"name": {"any_": [f"{phase}-{RUN}" for phase in pools]}}}
    assert httpx.post(f"{root}/api/flow_runs/count", json=named, timeout=120).json() == len(pools), "each of them once"
    assert {phase: run["work_pool_name"] for phase, run in runs.items()} == pools
    assert {run["state_type"] for run in runs.values()} == {"COMPLETED"}
    assert {"gpu", "training", f"run:{RUN}"} <= set(runs["base"]["tags"])
    assert runs["draft-sft"]["created"] < runs["train"]["end_time"], "it does not wait for the adapters"
    draft = read_receipt(folder / "runs" / RUN / "draft")
    assert draft is not None and draft["metrics"]["imitation"].startswith(f"{RUN}-draft-sft@v")
    assert draft["metrics"]["target"].startswith(f"{RUN}-merged@v")
    published = {
        part: Versions(str(folder / "datasets"), f"{RUN}-{part}").of_run(RUN).metrics
        for part in ("base", "adapter", "validation")
    }
    assert all(made["device"]["simulated"] for made in published.values())
    assert published["base"]["device"]["pool"] == "gpu-h100"
    assert published["base"]["dataset"].startswith(f"{RUN}@v")
    assert published["adapter"]["base"].startswith(f"{RUN}-base@v")
    assert published["validation"]["names"] == ["base", "trained", "merged", "draft"]


def test_a_shard_that_failed_once_is_a_task_with_two_runs(site: tuple[str, str], user: Person) -> None:
    root, _ = site
    asked = {"task_runs": {"name": {"any_": [SHARD]}}}
    (retried,) = httpx.post(f"{root}/api/task_runs/filter", json=asked, timeout=120).json()
    assert retried["run_count"] == 2
    user.opens(f"{root}/runs/task-run/{retried['id']}")
    words = user.sees(SHARD, "Run Count", "Retry 1/2", "path-taken")
    assert "Run Count\n2" in words and "Completed" in words


def test_tables_tell_what_was_lost_and_asked_again_and_what_it_cost(site: tuple[str, str], user: Person) -> None:
    root, _ = site
    for key, words in (
        ("funnel", "lost before it"),
        ("retries", "provider"),
        ("cost", "cost_usd"),
        ("base", "nll_unigram"),
        ("adapter", "resumed_bit_exact"),
        ("adapter-comparison", "in context"),
    ):
        user.opens(artifact(root, f"{RUN}-{key}"))
        user.sees(words, "Flow Run")
    user.opens(artifact(root, f"{RUN}-retries"))
    user.sees("provider", "code", "count", "loopback")
    user.opens(artifact(root, f"{RUN}-report"))
    user.sees("report.html")


@pytest.mark.parametrize("plot", ["base-loss", "adapter-loss", "domains"])
def test_plots_are_drawn(site: tuple[str, str], user: Person, plot: str) -> None:
    root, _ = site
    user.opens(artifact(root, f"{RUN}-{plot}"))
    user.sees(RUN)
    drawn = "return [...document.images].some(i => i.src.startsWith('data:image/svg') && i.naturalWidth > 100)"
    user.waits_for(lambda: bool(user.driver.execute_script(drawn)), "no plot is drawn")


def test_the_forms_of_all_phases_ask_what_they_need(site: tuple[str, str], user: Person) -> None:
    root, _ = site
    words = {
        "pipeline/on-demand": ("Dispatch", "GPU phases on their work pools", "Rate Share"),
        "pretrain-base/h100": ("NAME or NAME@VERSION", "Store"),
        "train-models/h100": ("of a published base model", "Store"),
        "generate-dataset/weekly": ("publish the result as the next version", "weekly"),
    }
    for name, asked in words.items():
        deployment = httpx.get(f"{root}/api/deployments/name/{name}", timeout=120).json()["id"]
        user.opens(f"{root}/deployments/deployment/{deployment}/run")
        user.sees("Submit", *asked)


def test_limits_and_automations_are_listed(site: tuple[str, str], user: Person) -> None:
    root, _ = site
    user.opens(f"{root}/concurrency-limits")
    user.sees("Global")
    user.opens(f"{root}/automations")
    user.sees("cogumi: mark killed runs as crashed", "cogumi: train on every new dataset")


def test_the_pictures_of_the_documentation_can_be_made(site: tuple[str, str], user: Person, tmp_path: Path) -> None:
    root, run = site
    photograph(user, root, run, tmp_path, settle_s=0.5)
    made = sorted(path.name for path in tmp_path.glob("*.png"))
    assert made == [
        f"{name}.png"
        for name in ("artifacts", "dataset", "form", "loss", "pipeline", "pools", "retried-task", "retries")
    ]
    assert all((tmp_path / name).stat().st_size > 30_000 for name in made)
    assert flow_run(root, f"dataset-{RUN}")["state_type"] == "COMPLETED"
