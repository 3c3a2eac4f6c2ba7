"""YAML of recipes: a bare off, no, yes or on is a text, in files and in overrides, for every key that has such a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from cogumi.recipe import Recipe, load_recipe
from cogumi.recipe.yaml_text import parse_yaml

YAML_11_BOOLEANS = {"y", "n", "yes", "no", "on", "off"}


def literal_keys(model: type[BaseModel], path: str = "") -> list[tuple[str, tuple[Any, ...]]]:
    """Every key of a recipe with fixed values, by its path; `*` stands for a name of the user's own."""
    found = []
    for name, field in model.model_fields.items():
        kinds, here = [field.annotation], f"{path}{name}"
        while kinds:
            kind = kinds.pop()
            if get_origin(kind) is Literal:
                found.append((here, get_args(kind)))
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                found += literal_keys(kind, f"{here}.*." if get_origin(field.annotation) is dict else f"{here}.")
            else:
                kinds += get_args(kind)
    return found


SWITCHES = [
    (key, value)
    for key, values in literal_keys(Recipe)
    if YAML_11_BOOLEANS & {str(value).lower() for value in values}
    for value in values
    if key != "dataset.answers_easy.cache" or value == "off"  # easy prompts are too short to be cached
]


def test_the_keys_that_yaml_1_1_would_misread_are_all_looked_at() -> None:
    keys = {key for key, _ in SWITCHES}
    assert keys >= {"teachers.*.training_allowed", "dataset.answers_hard.cache", "validation.sandbox"}


@pytest.mark.parametrize(("key", "value"), SWITCHES)
def test_a_bare_word_means_itself_in_a_file_and_in_an_override(tmp_path: Path, key: str, value: str) -> None:
    """YAML 1.1, which PyYAML reads, takes off, no, yes and on for booleans."""
    path = key.replace("*", "thinker").split(".")
    guide = ["dataset.answers_hard.guide=true"] if key == "dataset.answers_hard.cache" else []
    by_override = load_recipe("tiny", [*guide, f"{'.'.join(path)}={value}"])
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump(nested(load_recipe("tiny", guide).model_dump(mode="json"), path, "VALUE")).replace(
            "VALUE", value
        )
    )
    for recipe in (by_override, load_recipe(str(file))):
        found: Any = recipe
        for part in path:
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        assert found == value


def nested(raw: dict[str, Any], path: list[str], value: str) -> dict[str, Any]:
    at = raw
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return raw


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"), ("on", "on"), ("Yes", "Yes"), ("NO", "NO"), ("y", "y"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("010", 10), ("0o10", 8), ("0x1F", 31), ("12:30", "12:30"),
        ("2026-11-30", "2026-11-30"), ("1e-3", 0.001), ("-.5", -0.5), ("1_000", "1_000"), ("'off'", "off"),
        ("[off, {a: no}]", ["off", {"a": "no"}]), ("!!bool yes", True),
    ],
)  # fmt: skip
def test_yaml_is_read_by_its_core_schema(text: str, value: Any) -> None:
    """YAML 1.2.2, section 10.3.2."""
    found = parse_yaml(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text", ["!!int 0b1", "9" * 5000, "a: 1\na: 2"])
def test_what_is_no_value_is_a_yaml_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)


def test_boolean_keys_still_take_the_words_of_yaml_1_1() -> None:
    assert load_recipe("tiny", ["dataset.judge.classify=off"]).dataset.judge.classify is False
    assert load_recipe("tiny", ["dataset.answers_hard.guide=on"]).dataset.answers_hard.guide is True
