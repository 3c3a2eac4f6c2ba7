"""Other existing questions on a run that exists: shown as a difference with its price, and refused without --change."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.unit.cli.test_cli import NO_PREFECT, cogumi, refused

RUN = ["run", "dataset", "--recipe", "tiny", "--run", "mine"]


def questions(path: Path, numbers: range) -> Path:
    rows = [{"question": f"What is {n} plus {n * 7}?", "domain": "math", "difficulty": "easy"} for n in numbers]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_another_file_needs_a_change_and_the_same_one_does_not(tmp_path: Path) -> None:
    file = questions(tmp_path / "mine.jsonl", range(1, 9))
    asked = [*RUN, "--questions", file.name, *NO_PREFECT]
    assert cogumi(*asked, cwd=tmp_path).returncode == 0
    folder = tmp_path / "runs" / "mine"
    receipt, run = (folder / "dataset" / "receipt.json").read_bytes(), (folder / "run.json").read_bytes()

    os.utime(file, (1, 1))
    again = cogumi(*asked, cwd=tmp_path)
    assert again.returncode == 0 and "nothing to buy" in again.stderr, again.stderr
    assert (folder / "dataset" / "receipt.json").read_bytes() == receipt
    (folder / "finished.json").unlink()
    assert "another recipe" not in cogumi(*asked, "--dry-run", cwd=tmp_path).stderr, "when it was read does not count"

    renamed = file.rename(tmp_path / "yours.jsonl")
    renamed.write_text(renamed.read_text() + '\n{"question": "?", "domain": "math", "difficulty": "easy"}\n')
    same = [*RUN, "--questions", renamed.name, *NO_PREFECT]
    assert json.loads(cogumi(*same, "--dry-run", "--json", cwd=tmp_path).stdout)["changes"] == []
    assert cogumi(*same, cwd=tmp_path).returncode == 0
    assert (folder / "dataset" / "receipt.json").read_bytes() == receipt and not (folder / "replaced").exists()

    questions(file, range(3, 15))
    dry = cogumi(*asked, "--dry-run", "--json", cwd=tmp_path)
    (change,) = json.loads(dry.stdout)["changes"]
    assert change["key"] == "questions" and "8 questions (" in change["old"] and "12 questions (" in change["new"]
    done = cogumi(*asked, cwd=tmp_path)
    refused(done, "run-recipe-changed", 4)
    assert "questions: 8 questions (" in done.stderr and "with --change: " in done.stderr
    refused(
        cogumi("run", "dataset", "--recipe", "tiny", "--run", "mine", *NO_PREFECT, cwd=tmp_path),
        "run-recipe-changed",
        4,
    )
    assert json.loads((folder / "run.json").read_bytes()) == json.loads(run)

    changed = cogumi(*asked, "--change", cwd=tmp_path)
    assert changed.returncode == 0 and "it is made anew" in changed.stderr and "changing mine: " in changed.stderr
    (kept,) = (folder / "replaced").iterdir()
    assert f"what stood there before is in {kept}" in changed.stderr
    (told,) = json.loads((folder / "run.json").read_bytes())["changes"]
    assert told["keys"] == [change]
