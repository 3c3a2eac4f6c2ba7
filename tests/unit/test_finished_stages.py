"""What a finished stage is known by, without looking at more than files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cogumi.recipe import load_recipe
from cogumi.system.finished_stages import finished_key
from tests.unit.cli.test_cli import NO_PREFECT, cogumi


def test_files_that_a_stage_reads_count_by_their_size_and_time_of_change(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("some text")
    recipe = load_recipe("tiny", [f"base.texts=[{texts}]"])
    key = finished_key("base", recipe, tmp_path, [], [])
    assert key is not None and key == finished_key("base", recipe, tmp_path, [], [])
    assert finished_key("dataset", recipe, tmp_path, [], []) == finished_key(
        "dataset", load_recipe("tiny"), tmp_path, [], []
    )
    os.utime(texts / "a.txt", (1, 1))
    touched = finished_key("base", recipe, tmp_path, [], [])
    (texts / "b.txt").write_text("more")
    assert len({key, touched, finished_key("base", recipe, tmp_path, [], [])}) == 3


@pytest.mark.parametrize("override", ["train.base=meta-llama/Llama-3.1-8B-Instruct", "base.texts=[nowhere]"])
def test_what_is_not_on_the_disk_is_looked_for_by_the_stage(override: str, tmp_path: Path) -> None:
    assert finished_key("train", load_recipe("tiny", [override]), tmp_path, [], []) is None
    assert finished_key("train", load_recipe("tiny"), tmp_path, [], ["base@v1"]) is None


def test_a_version_that_is_published_is_finished_while_the_store_holds_it(tmp_path: Path) -> None:
    asked = ["run", "dataset", "--recipe", "tiny", "--dataset", "dd", "--period", "p1", *NO_PREFECT]
    assert cogumi(*asked, cwd=tmp_path).returncode == 0
    again = cogumi(*asked, cwd=tmp_path)
    assert again.returncode == 0 and "dd-p1: the dataset is finished, nothing to buy" in again.stderr
    (manifest,) = (tmp_path / "datasets" / "dd" / "manifests").iterdir()
    manifest.unlink()
    anew = cogumi(*asked, cwd=tmp_path)
    assert anew.returncode == 0 and "nothing to buy" not in anew.stderr.replace("reused, nothing to buy", "")
    assert manifest.exists()
