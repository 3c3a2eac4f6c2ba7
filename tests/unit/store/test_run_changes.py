"""A recipe that changes on a run that exists: what is shown, what is refused, what run.json then holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cogumi.errors import RunError
from cogumi.recipe import Recipe, load_recipe
from cogumi.recipe.changes import NOT_CONTENT, changed_content, part_of_key, recipe_changes
from cogumi.store.artifacts import new_artifact, read_receipt, replaced_artifacts
from cogumi.store.files import write_atomic
from cogumi.store.run_folder import RunFolder, read_run

CONTENT = {
    "seed=2": {"dataset", "base", "train", "draft", "validation"},
    "dataset.judge.pass_mean=9.5": {"dataset"},
    "dataset.answers_easy.temperature=0.2": {"dataset"},
    "dataset.cells.math.easy=5": {"dataset"},
    "dataset.split.test=0.2": {"dataset"},
    "teachers.judge.model=loopback/questioner": {"dataset"},
    "loopback.defect_share=0.3": {"dataset"},
    "base.steps=61": {"base"},
    "train.steps=7": {"train"},
    "draft.rounds=2": {"draft"},
    "validation.fresh_rows=9": {"validation"},
}
NEUTRAL = [
    "name=other", "purpose=another", "preflight=false", "budget.max_usd=5", "teachers.judge.rpm=600",
    "teachers.judge.base_url=http://127.0.0.1:1/v1", "teachers.judge.api_key_env=OTHER_KEY", "teachers.judge.in_flight=3",
    "teachers.judge.timeout_s=30", "teachers.judge.backoff_s=[1]", "loopback.latency_s=0.5", "loopback.fault_share=0.5",
    "dataset.judge.workers=3", "dataset.max_rounds=50", "dataset.checkpoint_rows=20", "dataset.deadline_h=4",
    "base.usd_per_hour=2", "base.save_every=7", "train.usd_per_hour=2", "draft.usd_per_hour=2", "draft.save_every=7", "train.trackers=[tensorboard]",
]  # fmt: skip


def finished(path: Path, name: str, section: dict[str, Any] | None = None) -> None:
    with new_artifact(path / name, "stage", "inputs", section or {}, 0) as made:
        write_atomic(made.path / "f", b"1")


@pytest.mark.parametrize(("override", "parts"), CONTENT.items())
def test_a_key_that_decides_requests_rows_or_weights_changes_its_part(override: str, parts: set[str]) -> None:
    old, new = load_recipe("tiny"), load_recipe("tiny", [override])
    assert changed_content(old, new) == parts
    assert [change.key for change in recipe_changes(old, new)] == [override.partition("=")[0]]
    assert part_of_key(override.partition("=")[0]) in parts


@pytest.mark.parametrize("override", NEUTRAL)
def test_limits_urls_names_of_keys_and_the_budget_change_no_part(override: str) -> None:
    old, new = load_recipe("tiny"), load_recipe("tiny", [override])
    assert recipe_changes(old, new) and changed_content(old, new) == set()
    assert all(part_of_key(change.key) == "" for change in recipe_changes(old, new))


def test_every_key_that_is_named_as_no_content_exists() -> None:
    recipe = load_recipe("tiny")
    for part, names in NOT_CONTENT.items():
        assert names <= set(type(getattr(recipe, part)).model_fields), part


def test_another_name_for_the_same_teacher_changes_nothing(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "deployments" / "recipes" / "tiny.yaml").read_text()
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text(
        text.replace("  judge: {<<: *loopback", "  scorer: {<<: *loopback").replace("teacher: judge", "teacher: scorer")
    )
    assert changed_content(load_recipe("tiny"), load_recipe(str(renamed))) == set()


def test_what_is_finished_refuses_other_content_and_shows_every_key_with_old_and_new(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "first") as folder:
        finished(folder.path, "dataset")
    before = (folder.path / "run.json").read_bytes()
    other = load_recipe("tiny", ["dataset.judge.pass_mean=9.5", "dataset.split.test=0.2", "budget.max_usd=7"])
    with pytest.raises(RunError) as refused, RunFolder.open(tmp_path, "a", other):
        pass
    assert refused.value.code == "run-recipe-changed"
    assert "dataset.judge.pass_mean: 7.0 -> 9.5" in refused.value.detail
    assert "dataset.split.test: 0.05 -> 0.2" in refused.value.detail
    assert "budget" not in refused.value.detail  # it needs no permission
    assert (folder.path / "run.json").read_bytes() == before


def test_a_change_that_is_allowed_is_recorded_with_what_was_before(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "first") as folder:
        finished(folder.path, "dataset")
    other = load_recipe("tiny", ["dataset.judge.pass_mean=9.5"])
    with RunFolder.open(tmp_path, "a", other, "second", change=True):
        pass
    run = read_run(folder.path)
    assert Recipe.model_validate(run["recipe"]) == other and run["command"] == "second"
    (entry,) = run["changes"]
    assert entry["keys"] == [{"key": "dataset.judge.pass_mean", "old": 7.0, "new": 9.5}]
    with RunFolder.open(tmp_path, "a", other):
        pass  # what run.json holds now needs no permission
    with pytest.raises(RunError, match="run-recipe-changed"), RunFolder.open(tmp_path, "a", load_recipe("tiny")):
        pass


def test_a_change_that_fails_leaves_the_recipe_by_which_what_stands_there_was_made(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "first") as folder:
        finished(folder.path, "dataset")
    before = read_run(folder.path)
    other = load_recipe("tiny", ["dataset.judge.pass_mean=9.5"])
    with pytest.raises(ZeroDivisionError), RunFolder.open(tmp_path, "a", other, "second", change=True):
        assert read_run(folder.path) == before
        raise ZeroDivisionError
    assert read_run(folder.path) == before and "changing" not in (folder.path / "run.json").read_text()
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "third"):
        pass
    assert "changing" not in (folder.path / "run.json").read_text()


def test_a_change_that_was_killed_leaves_it_too(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "first") as folder:
        finished(folder.path, "dataset")
    before = read_run(folder.path)
    other = load_recipe("tiny", ["dataset.judge.pass_mean=9.5"])
    with RunFolder.open(tmp_path, "a", other, "second", change=True):
        as_killed = (folder.path / "run.json").read_bytes()
    write_atomic(folder.path / "run.json", as_killed)
    assert read_run(folder.path) == before
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "third"):
        pass
    assert read_run(folder.path) == before, "a later run that ends well does not carry it out"
    write_atomic(folder.path / "run.json", as_killed)
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "", "base"):
        pass
    assert read_run(folder.path) == before, "nor does another stage"


def test_a_change_counts_from_the_moment_that_something_else_stands_there(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "first") as folder:
        finished(folder.path, "dataset")
    other = load_recipe("tiny", ["dataset.judge.pass_mean=9.5"])
    killed = pytest.raises(ZeroDivisionError)
    with killed, RunFolder.open(tmp_path, "a", other, "second", change=True):
        finished(folder.path, "dataset", {"pass_mean": 9.5})
        assert read_run(folder.path)["command"] == "second"
        raise ZeroDivisionError
    run = read_run(folder.path)
    assert run["recipe"]["dataset"]["judge"]["pass_mean"] == 9.5 and len(run["changes"]) == 1
    with RunFolder.open(tmp_path, "a", other, "second"):
        pass


def test_limits_and_budget_go_into_run_json_without_being_allowed(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny"), "first") as folder:
        finished(folder.path, "dataset")
    with RunFolder.open(tmp_path, "a", load_recipe("tiny", ["budget.max_usd=3"]), "second"):
        pass
    run = read_run(folder.path)
    assert run["recipe"]["budget"]["max_usd"] == 3 and run["command"] == "second"


def test_a_run_that_has_made_nothing_takes_any_recipe(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny")):
        pass
    with RunFolder.open(tmp_path, "a", load_recipe("demo")) as folder:
        assert read_run(folder.path)["recipe"]["name"] == "demo"


def test_a_stage_changes_its_own_part_and_none_before_it(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "a", load_recipe("tiny")) as folder:
        finished(folder.path, "dataset")
        finished(folder.path, "base")
        finished(folder.path, "adapter")
    both = load_recipe("tiny", ["dataset.split.test=0.2", "base.steps=61"])
    own = pytest.raises(RunError, match="dataset: changed by cogumi run dataset --change")
    with own, RunFolder.open(tmp_path, "a", both, "", "base", change=True):
        pass
    later = load_recipe("tiny", ["base.steps=61", "train.steps=7"])
    with RunFolder.open(tmp_path, "a", later, "", "base", change=True):
        pass
    run = read_run(folder.path)
    assert run["recipe"]["base"]["steps"] == 61
    assert run["recipe"]["train"]["steps"] == 6  # the adapter was made by it, until its stage is run
    with pytest.raises(RunError, match=r"train\.steps: 6 -> 7"), RunFolder.open(tmp_path, "a", later, "", "train"):
        pass


def test_an_artifact_of_other_inputs_is_kept_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    for inputs, content in (("one", b"1"), ("two", b"2"), ("two", b"3"), ("one", b"4")):
        with new_artifact(place, "stage", inputs, {}, 0) as made:
            write_atomic(made.path / "f", content)
    kept = [
        (receipt["inputs"], (path / "f").read_bytes())
        for path in replaced_artifacts(tmp_path)
        if (receipt := read_receipt(path))
    ]
    assert sorted(kept) == [("one", b"1"), ("two", b"3")]
    assert (place / "f").read_bytes() == b"4"
    with new_artifact(place, "stage", "one", {"split": 1}, 0) as made:  # the same rows, published another way
        write_atomic(made.path / "f", b"5")
    assert len(replaced_artifacts(tmp_path)) == 3
