"""Recipes: strict keys, suggestions, overrides, no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cogumi.dataset.shards import plan_shards
from cogumi.errors import InputError
from cogumi.recipe import check_recipe, load_recipe, preset_folder, preset_names, train_preset_names


def test_every_preset_loads_and_holds_the_rows_its_name_says() -> None:
    assert preset_names() == ["demo", "small", "spec-54k", "spec-60k", "tiny"]
    rows = {name: load_recipe(name).dataset.rows for name in preset_names()}
    assert rows == {"tiny": 80, "demo": 800, "small": 800, "spec-54k": 53_997, "spec-60k": 60_000}


def test_training_presets_lie_below_what_a_recipe_says_itself() -> None:
    """The values of the specification's sections 1.6, 1.7, 1.11, 1.16 and 1.18, and ours."""
    assert train_preset_names() == ["anil", "anil-v1", "anil-v2", "base-v0", "draft", "maml-v1"]
    told = {}
    for name in train_preset_names():
        train = load_recipe("spec-60k", [f"train.preset={name}", "train.lora.dropout=0.25"]).train
        assert train is not None and train.preset == name and train.lora.dropout == 0.25
        told[name] = (train.algorithm, train.inner.rate, train.inner.steps, train.learning_rate, train.tasks_per_step,
                      train.support, train.query, train.lora.rank, train.clip, train.patience)  # fmt: skip
    assert told["anil-v1"] == ("anil1", 5e-3, 2, 2e-4, 2, 8, 8, 64, 1.0, 2)
    assert told["anil-v2"] == ("anil1", 3e-5, 3, 5e-6, 4, 6, 6, 16, 0.5, 2)
    assert told["maml-v1"][:8] == ("fomaml", 1e-4, 5, 5e-5, 8, 32, 32, 64)
    assert told["base-v0"][3:8] == (1e-5, 2, 5, 15, 64) and told["draft"][0] == "sft" and told["draft"][3] == 3e-4
    assert told["anil"] == ("anil", 0.1, 3, 2e-4, 4, 6, 6, 16, 1.0, 3)


def test_a_recipe_that_was_loaded_loads_again_as_it_is() -> None:
    for name in preset_names():
        recipe = load_recipe(name)
        assert check_recipe(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("train.preset=anil-v3", "recipe-not-found", "anil-v1"),
        ("train.preset=../tiny", "recipe-not-found", "anil-v1"),
        ("train.inner.rat=1", "recipe-unknown-key", "'rate'"),
        ("train.look_every=51", "recipe-bad-value", "look_every"),
        ("base=null", "recipe-bad-value", "train.base names no model"),
        ("train.domains=[poetry]", "recipe-bad-value", "poetry"),
        ("train.held_out_domains=[poetry]", "recipe-bad-value", "poetry"),
    ],
)
def test_what_is_wrong_with_a_training_section_is_said(change: str, code: str, words: str) -> None:
    with pytest.raises(InputError, match=code) as caught:
        load_recipe("tiny", [change])
    assert words in str(caught.value)


def test_no_preset_makes_more_tasks_than_a_dashboard_shows_well() -> None:
    """Two a shard, one to publish; shards that must grow add a few."""
    tasks = {name: 2 * len(plan_shards(load_recipe(name).dataset)) + 1 for name in preset_names()}
    assert tasks["spec-60k"] == 121 and max(tasks.values()) < 200


def test_spec_60k_has_the_cells_of_section_1_1() -> None:
    cells = load_recipe("spec-60k").dataset.cells
    for domain in ("coding", "math", "tool_use", "reasoning"):
        assert cells[domain] == {"easy": 4000, "hard": 6000}
    for domain in ("reading", "summarization", "common_sense", "instruction"):
        assert cells[domain] == {"easy": 2000, "hard": 3000}


def test_spec_54k_has_the_totals_of_section_1_12() -> None:
    cells = load_recipe("spec-54k").dataset.cells.values()
    assert sum(c["easy"] for c in cells) == 53_311
    assert sum(c["hard"] for c in cells) == 686


@pytest.mark.parametrize(
    ("override", "code", "says"),
    [
        ("dataset.judge.pass_maen=7", "recipe-unknown-key", "did you mean 'pass_mean'"),
        ("teachers.judge.modle=x", "recipe-unknown-key", "did you mean 'model'"),
        ("sede=3", "recipe-unknown-key", "did you mean 'seed'"),
        ("dataset.cells.math.easy=-1", "recipe-bad-value", "greater than or equal to 0"),
        ("dataset.cells.math.medium=1", "recipe-bad-value", "easy"),
        ("dataset.judge.teacher=nobody", "recipe-bad-value", "no teacher called 'nobody'"),
        ("dataset.judge", "recipe-bad-override", "dataset.judge"),
        ("name.x=1", "recipe-bad-override", "is a value"),
        ("teachers.judge.api_key_env=sk-live-0123456789abcdefghijkl", "secret-in-recipe", "value not shown"),
    ],
)
def test_a_bad_override_is_refused_with_what_helps(override: str, code: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe("demo", [override])
    assert caught.value.code == code
    assert says in caught.value.detail
    assert "0123456789abcdef" not in str(caught.value)


def test_faults_of_every_kind_are_named_at_once_one_a_line() -> None:
    wrong = [
        "dataset.cells.cooking.easy=4",
        "dataset.given.domain=law",
        "dataset.judge.pass_mean=abc",
        "dataset.questions.teacher=jduge",
        "dataset.questions.teacher_by_domain={math: nobody}",
        "foo=1",
        "sede=3",
    ]
    with pytest.raises(InputError) as caught:
        load_recipe("tiny", wrong)
    lines = [line.strip() for line in caught.value.detail.splitlines()]
    assert caught.value.code == "recipe-several-faults" and len(lines) == 6
    assert lines[0].startswith("unknown key foo; keys here: ") and "name" in lines[0]
    assert lines[1] == "unknown key sede; did you mean 'seed'?"
    assert lines[2].startswith("dataset.judge.pass_mean: ") and lines[2].endswith("(given: 'abc')")
    assert [line.partition(";")[0] for line in lines[3:5]] == [
        "no teacher called 'jduge'",
        "no teacher called 'nobody'",
    ]
    assert lines[5].startswith("unknown domains: cooking, law; there are coding, math, ")


def test_an_unknown_key_explains_the_missing_one_beside_it_and_no_other() -> None:
    raw = load_recipe("tiny").model_dump(mode="json")
    raw["teachers"]["judge"]["modle"] = raw["teachers"]["judge"].pop("model")
    with pytest.raises(InputError, match="recipe-unknown-key") as caught:
        check_recipe(raw)
    assert caught.value.detail == "teachers.judge.modle; did you mean 'model'?"
    del raw["purpose"]
    with pytest.raises(InputError, match="recipe-several-faults") as caught:
        check_recipe(raw)
    assert "purpose: Field required" in caught.value.detail


def test_every_bad_override_is_named() -> None:
    with pytest.raises(InputError, match="recipe-bad-override") as caught:
        load_recipe("tiny", ["dataset.judge", "name.x=1", "seed=2"])
    assert [line.strip() for line in caught.value.detail.splitlines()] == [
        "'dataset.judge'", "'name.x=1': 'name' is a value, not a section",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [-1, 2**53])
def test_a_seed_is_one_that_every_generator_takes(seed: int) -> None:
    for key in ("seed", "validation.seed", "loopback.seed"):
        with pytest.raises(InputError, match="recipe-bad-value"):
            load_recipe("tiny", [f"{key}={seed}"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["dataset.answers_hard.cache=1h"], "dataset.answers_hard.guide: true"),
        (["dataset.answers_hard.cache=false"], "'off', '5m' or '1h'"),
        (["dataset.answers_easy.guide=true"], "hard questions only"),
        (["dataset.answers_easy.cache=5m"], "too short to be cached"),
        (
            ["dataset.answers_hard.guide=true", "dataset.answers_hard.cache=5m", "teachers.thinker.wire=openai"],
            "anthropic wire",
        ),
    ],
)
def test_a_cache_needs_a_guide_that_it_can_keep(overrides: list[str], words: str) -> None:
    with pytest.raises(InputError, match="recipe-bad-value") as caught:
        load_recipe("tiny", overrides)
    assert words in caught.value.detail


def test_overrides_change_only_what_they_name() -> None:
    plain, changed = load_recipe("demo"), load_recipe("demo", ["dataset.judge.pass_mean=8.5", "seed=9"])
    assert changed.dataset.judge.pass_mean == 8.5
    assert changed.seed == 9
    assert changed.dataset.cells == plain.dataset.cells


def test_a_name_that_is_almost_a_preset_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean 'demo'"):
        load_recipe("dmeo")


@pytest.mark.parametrize(
    "content", ["a: [", "- 1\n- 2\n", "name: a\nname: b\n", "\x00", "!!python/object:os.system {}"]
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_recipe(str(path))
    assert caught.value.code == "recipe-not-yaml"
    assert "bad.yaml" in caught.value.detail


def test_each_preset_says_at_its_head_what_it_is_for_and_how_to_run_it() -> None:
    for name in preset_names():
        head = (preset_folder() / f"{name}.yaml").read_text().split("\nname:")[0]
        assert f"# {name}:" in head and "# Command:" in head and "# Hardware:" in head


def test_model_ids_stand_in_recipes_and_prices_only() -> None:
    code = Path(__file__).resolve().parents[2] / "cogumi"
    models = {
        t["model"]
        for n in preset_names()
        for t in yaml.safe_load((preset_folder() / f"{n}.yaml").read_text())["teachers"].values()
    }
    for path in code.rglob("*.py"):
        if path.parts[-2] != "server":
            assert not [model for model in models if model in path.read_text()], path
