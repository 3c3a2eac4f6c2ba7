"""Run folders, artifacts and files: one owner, whole or absent, damage found."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from cogumi.errors import InputError, StorageError
from cogumi.recipe import load_recipe
from cogumi.store.artifacts import find_artifacts, held_metrics, leftovers, new_artifact, read_receipt, verify
from cogumi.store.files import Quarantined, read_foreign_jsonl, write_atomic, write_jsonl
from cogumi.store.run_folder import RUN_FORMAT, RunFolder, read_run


def test_a_run_folder_says_what_it_was_started_with(tmp_path: Path) -> None:
    recipe = load_recipe("tiny")
    with RunFolder.open(tmp_path, "a", recipe, "cogumi run") as folder:
        run = read_run(folder.path)
    assert run["recipe"] == recipe.model_dump(mode="json")
    assert run["versions"]["prefect"] and run["python"] and run["command"] == "cogumi run"
    with RunFolder.open(tmp_path, "a", recipe) as again:
        assert again.resumed


def test_two_processes_cannot_share_a_run(tmp_path: Path) -> None:
    recipe = load_recipe("tiny")
    script = (
        "import sys; from pathlib import Path; from cogumi.recipe import load_recipe; "
        "from cogumi.store.run_folder import RunFolder\n"
        "with RunFolder.open(Path(sys.argv[1]), 'a', load_recipe('tiny')): pass"
    )
    with RunFolder.open(tmp_path, "a", recipe):
        other = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert other.returncode != 0 and "run-locked" in other.stderr
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == 0


def test_a_newer_or_damaged_run_is_refused(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny")) as folder:
        path = folder.path / "run.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "format": RUN_FORMAT + 1}))
    with pytest.raises(StorageError, match="run-newer"), RunFolder.open(tmp_path, "a", load_recipe("tiny")):
        pass
    path.write_text("{")
    with pytest.raises(StorageError, match="run-damaged"), RunFolder.open(tmp_path, "a", load_recipe("tiny")):
        pass


@pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden", "a..b", "x" * 100])
def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="run-name-refused"), RunFolder.open(tmp_path, name, load_recipe("tiny")):
        pass


def test_an_artifact_appears_whole_with_a_receipt(tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    with new_artifact(place, "stage", "hash", {"a": 1}, 7) as draft:
        write_jsonl(draft.path / "rows.jsonl", [{"x": 1}])
        draft.metrics["rows"] = 1
        assert not place.exists()
    receipt = verify(place)
    assert receipt["metrics"] == {"rows": 1} and receipt["seed"] == 7 and "rows.jsonl" in receipt["files"]
    assert [found for found, _ in find_artifacts(tmp_path)] == [place]


def test_figures_of_an_artifact_are_those_of_its_receipt(tmp_path: Path) -> None:
    """What a stage returns reads the same as what is read again: JSON has no number that is not finite."""
    with new_artifact(tmp_path / "a", "stage", "x", {}, 1) as made:
        made.metrics |= {"mean": math.nan, "ci95": (-math.inf, math.inf), "rows": 1, "loss": 0.5}
    assert made.metrics == {"mean": None, "ci95": [None, None], "rows": 1, "loss": 0.5}
    assert held_metrics(tmp_path / "a", "x") == made.metrics


def test_an_artifact_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    with new_artifact(place, "stage", "one", {}, 0) as draft:
        write_atomic(draft.path / "f", b"1")
    with pytest.raises(RuntimeError), new_artifact(place, "stage", "two", {}, 0) as draft:
        write_atomic(draft.path / "f", b"2")
        raise RuntimeError
    receipt = read_receipt(place)
    assert receipt is not None and receipt["inputs"] == "one" and (place / "f").read_bytes() == b"1"
    assert leftovers(tmp_path) == []


def test_checkpoints_are_left_over_once_what_they_led_to_is_there(tmp_path: Path) -> None:
    """A kill between the artifact's rename and the end of its checkpoints' removal."""
    finished, other = (tmp_path / "run" / "checkpoints" / f"draft-sft-{inputs}" for inputs in ("one", "two"))
    for folder in (finished, other):
        (folder / "step-00000001").mkdir(parents=True)
    assert leftovers(tmp_path) == []
    with new_artifact(tmp_path / "run" / "draft-sft", "stage", "one", {}, 0) as draft:
        write_atomic(draft.path / "f", b"1")
    assert leftovers(tmp_path) == [finished]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_found_and_named(tmp_path: Path, damage: str) -> None:
    place = tmp_path / "dataset"
    with new_artifact(place, "stage", "one", {}, 0) as draft:
        write_atomic(draft.path / "rows", bytes(range(200)))
    file = place / "rows"
    content = bytearray(file.read_bytes())
    content[77] ^= 1
    file.write_bytes(bytes(content) if damage == "flip" else file.read_bytes()[:-1])
    if damage == "gone":
        file.unlink()
    with pytest.raises(StorageError, match=r"artifact-damaged.*rows"):
        verify(place)


def test_foreign_rows_are_quarantined_by_line_and_none_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\nnot json\n[1]\n\xff\xfe\n{"a": 2}' + b"\n" + b"x" * 2_000_000 + b"\n")
    found = list(read_foreign_jsonl(path))
    rows = [entry for entry in found if not isinstance(entry, Quarantined)]
    bad = [(entry.line, entry.reason) for entry in found if isinstance(entry, Quarantined)]
    assert rows == [(1, {"a": 1}), (6, {"a": 2})]
    assert bad == [(3, "not-json"), (4, "not-an-object"), (5, "not-json"), (7, "line-too-long")]
