"""python -m docs.screenshots: the pictures of docs/images, from a site of its own that runs the tiny pipeline.

One shard is made to fail once, so that a retry can be seen. Needs chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from deployments.local_server import free_port
from deployments.stack import down, up
from tests.browser.driving import Person, person

IMAGES = Path(__file__).parent / "images"
RUN = "pictured"
SHARD = "answer-math-easy-00000"


def main() -> None:
    """Bring a site up, run, photograph, take it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=IMAGES)
    into: Path = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / ".cogumi"
        try:
            standing = up(home, {"port": free_port(), "work": folder, "simulate": True}, say=print)
            root = standing.site.root
            run = run_with_a_retry(root, Path(folder))
            with person(Path(folder) / "browser", size="1500,1300") as user:
                photograph(user, root, run, into)
        finally:
            down(home, grace_s=5)


def run_with_a_retry(root: str, folder: Path) -> str:
    """Run the pipeline with a folder in the place of one shard's file until its task waits for a retry."""
    planted = folder / "runs" / RUN / "shards" / f"{SHARD}.json"
    planted.mkdir(parents=True)
    threading.Thread(target=remove_when_retried, args=(root, planted), daemon=True).start()
    found = httpx.get(f"{root}/api/deployments/name/pipeline/on-demand", timeout=120).json()
    asked = {"dataset": {"recipe": "tiny", "dataset": "pictured", "run": RUN, "period": "1"}, "dispatch": "pools"}
    body = {"parameters": {"request": asked}}
    made = httpx.post(f"{root}/api/deployments/{found['id']}/create_flow_run", json=body, timeout=120)
    run = str(made.raise_for_status().json()["id"])
    until = time.monotonic() + 600
    while httpx.get(f"{root}/api/flow_runs/{run}", timeout=120).json()["state_type"] not in ("COMPLETED", "FAILED"):
        if time.monotonic() > until:
            raise RuntimeError("the pipeline did not end")
        time.sleep(1)
    return run


def remove_when_retried(root: str, planted: Path) -> None:
    """Take the obstacle away once the task has met it."""
    asked = {"task_runs": {"name": {"any_": [SHARD]}, "state": {"name": {"any_": ["AwaitingRetry"]}}}}
    while not httpx.post(f"{root}/api/task_runs/filter", json=asked, timeout=120).json():
        time.sleep(0.3)
    planted.rmdir()


def photograph(user: Person, root: str, run: str, into: Path, settle_s: float = 5) -> None:
    """Every page that the documentation shows, once its words are there; the graph is drawn some seconds later."""
    dataset = flow_run(root, f"dataset-{RUN}")
    retried = one(root, "task_runs", {"task_runs": {"name": {"any_": [SHARD]}}})
    form = httpx.get(f"{root}/api/deployments/name/generate-dataset/on-demand", timeout=120).json()["id"]
    artifacts = {
        artifact["key"]: artifact["id"]
        for artifact in httpx.post(f"{root}/api/artifacts/filter", json={"limit": 200}, timeout=120).json()
    }
    pages: list[tuple[str, str, tuple[str, ...]]] = [
        ("pipeline", f"/runs/flow-run/{run}", (f"pipeline-{RUN}", "Completed")),
        ("dataset", f"/runs/flow-run/{dataset['id']}", (f"dataset-{RUN}", "Completed")),
        ("retried-task", f"/runs/task-run/{retried['id']}", (SHARD, "Run Count")),
        ("form", f"/deployments/deployment/{form}/run", ("Submit", "Overrides")),
        ("artifacts", "/artifacts", (f"{RUN}-funnel", f"{RUN}-phases")),
        ("retries", f"/artifacts/artifact/{artifacts[f'{RUN}-retries']}", ("provider",)),
        ("loss", f"/artifacts/artifact/{artifacts[f'{RUN}-base-loss']}", ("Training loss",)),
        ("pools", "/work-pools", ("cpu", "gpu-h100")),
    ]
    for name, path, words in pages:
        user.opens(f"{root}{path}")
        user.sees(*words)
        time.sleep(settle_s)
        user.photographs(into / f"{name}.png")


def flow_run(root: str, name: str) -> dict[str, Any]:
    return one(root, "flow_runs", {"flow_runs": {"name": {"any_": [name]}}})


def one(root: str, what: str, asked: dict[str, Any]) -> dict[str, Any]:
    return dict(httpx.post(f"{root}/api/{what}/filter", json=asked, timeout=120).raise_for_status().json()[-1])


if __name__ == "__main__":
    main()
