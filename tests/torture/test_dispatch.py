"""GPU phases on their pools, which this site simulates: the child's end is the pipeline's, a killed child goes on from its
checkpoint, a cancelled pipeline takes its child along, and a new dataset is trained on once.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import httpx
import pytest

from cogumi.store.artifacts import read_receipt
from cogumi.store.versions import Versions
from cogumi.training.metrics import METRICS, read_metrics
from deployments.processes import family_of
from tests.torture.conftest import Site, until
from tests.torture.driving import LONG

pytestmark = pytest.mark.torture
SLOW = ["base.steps=4000", "base.warmup_steps=10", "base.save_every=20"]
TRIGGER = "cogumi: train on every new dataset"


def pipeline(site: Site, run: str, *overrides: str) -> str:
    """Dataset and base. What all phases leave on their pools is looked at in tests/browser/test_dashboard.py."""
    changes = [*overrides, "train=null", "draft=null", "validation=null"]
    data = {"recipe": "tiny", "dataset": "gpu", "run": run, "period": run, "overrides": changes}
    return site.start("pipeline/on-demand", {"dataset": data, "dispatch": "pools"})


def in_training(site: Site, run: str) -> dict[str, Any]:
    """The base phase's flow run, once it has saved a checkpoint."""
    until(lambda: list((site.folder / "runs" / run / "checkpoints").glob("base-*/step-*")))
    return site.runs(f"base-{run}")[-1]


def test_a_phase_that_fails_fails_its_pipeline_with_its_words(site: Site) -> None:
    ended = site.ended(pipeline(site, "failing", "base.texts=[/nowhere]"))
    assert ended["state_type"] == "FAILED"
    assert "phase-failed" in ended["state"]["message"] and "corpus-unreadable" in ended["state"]["message"]


def test_a_phase_whose_process_is_killed_goes_on_from_its_checkpoint(site: Site) -> None:
    """The worker tells that its process is gone; the pipeline dispatches the phase again, without a person."""
    run = pipeline(site, "killed", *SLOW[:-1], "base.save_every=5", "base.steps=600")
    in_training(site, "killed")
    worker = site.process("worker-gpu-h100-simulated")
    for pid in family_of(worker)[1:]:
        os.kill(pid, signal.SIGKILL)
    ended = site.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    first, second = site.runs("base-killed")
    assert (first["state_type"], second["state_type"]) == ("CRASHED", "COMPLETED")
    receipt = read_receipt(site.folder / "runs" / "killed" / "base")
    assert receipt is not None and receipt["metrics"]["resumed_from"] > 0 and receipt["metrics"]["steps"] == 600
    tasks = site.post("/task_runs/filter", {"task_runs": {"name": {"any_": ["pretrain-base/h100"]}}})
    assert max(task["run_count"] for task in tasks if task["flow_run_id"] == run) == 2
    again = json.loads(site.cogumi("resume", "killed", "--json"))
    assert site.ended(again["flow_run"])["state_type"] == "COMPLETED"
    assert read_receipt(site.folder / "runs" / "killed" / "base") == receipt, "resumed, it trains nothing again"


def test_a_cancelled_pipeline_cancels_its_phase_which_saves_where_it_is(site: Site) -> None:
    run = pipeline(site, "cancelled", *SLOW)
    child = in_training(site, "cancelled")
    site.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert site.ended(run)["state_type"] == "CANCELLED"
    assert site.ended(child["id"])["state_type"] == "CANCELLED"
    (kept,) = (site.folder / "runs" / "cancelled" / "checkpoints").glob("base-*")
    saved = [int(folder.name.removeprefix("step-")) for folder in kept.glob("step-*")]
    assert max(saved) == read_metrics(kept / METRICS)[-1]["step"], "the step that it was at, not the last 20th"


@pytest.mark.skipif(not LONG, reason="a minute more; make torture runs it")
def test_a_second_pipeline_of_the_run_joins_the_phase_that_is_under_way(site: Site) -> None:
    overrides = (*SLOW[1:], "base.steps=900")
    first = pipeline(site, "joined", *overrides)
    in_training(site, "joined")
    second = pipeline(site, "joined", *overrides)
    assert [site.ended(run)["state_type"] for run in (first, second)] == ["COMPLETED", "COMPLETED"]
    assert len(site.runs("base-joined")) == 1


def test_a_new_dataset_is_trained_on_where_the_trigger_is_on_and_once(site: Site) -> None:
    (trigger,) = site.post("/automations/filter", {"automations": {"name": {"any_": [TRIGGER]}}})
    assert trigger["enabled"] is False, "off until somebody switches it on"

    def switched(on: bool) -> None:
        httpx.patch(f"{site.api}/automations/{trigger['id']}", json={"enabled": on}, timeout=120).raise_for_status()

    switched(True)
    try:
        time.sleep(5)  # the server reads its automations anew every few seconds
        request = {
            "recipe": "tiny",
            "dataset": "watched",
            "run": "watched-1",
            "period": "1",
            "overrides": ["train=null", "draft=null"],
        }
        assert site.ended(site.start("generate-dataset/on-demand", request))["state_type"] == "COMPLETED"
        until(lambda: site.runs("base-watched-v1"))
        (child,) = site.runs("base-watched-v1")
        assert site.ended(child["id"])["state_type"] == "COMPLETED"
        assert Versions(str(site.folder / "datasets"), "watched-base").get().run == "watched-v1"
        before = len(site.post("/flow_runs/filter", {"flows": {"name": {"any_": ["pretrain-base"]}}}))
        assert site.ended(pipeline(site, "taken-further", "base=null"))["state_type"] == "COMPLETED"
        time.sleep(10)
        after = site.post("/flow_runs/filter", {"flows": {"name": {"any_": ["pretrain-base"]}}})
        assert len(after) == before, "what a pipeline makes is the pipeline's to train on"
    finally:
        switched(False)
