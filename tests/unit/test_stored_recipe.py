"""Recipes of run folders of every format: read as they were meant when they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from cogumi.dataset.request import DatasetRequest
from cogumi.errors import InputError
from cogumi.recipe import as_of_format, load_recipe, overrides_of_format, stored_recipe
from cogumi.store.run_folder import RunFolder


def stored(run_format: int, **hard: Any) -> tuple[dict[str, Any], int]:
    """A recipe as run.json of a format holds it: the guide has no key before format 3."""
    raw = load_recipe("tiny").model_dump(mode="json")
    raw["dataset"]["answers_hard"] = {k: v for k, v in raw["dataset"]["answers_hard"].items() if k != "guide"} | hard
    return raw, run_format


@pytest.mark.parametrize(
    ("raw", "guide", "cache"),
    [
        (stored(1), False, "off"),
        (stored(2, cache="off"), False, "off"),
        (stored(1, cache="5m"), True, "5m"),
        (stored(2, cache="1h"), True, "1h"),
        (stored(3, cache="1h", guide=True), True, "1h"),
        (stored(3, guide=True), True, "off"),
        (stored(3), False, "off"),
    ],
)
def test_a_stored_recipe_is_read_as_its_format_meant_it(
    raw: tuple[dict[str, Any], int], guide: bool, cache: str
) -> None:
    """And a command of today, whose preset has neither guide nor cache, goes on as the run began."""
    hard = stored_recipe(*raw).dataset.answers_hard
    assert (hard.guide, hard.cache) == (guide, cache)
    if raw[1] < 3:
        hard = as_of_format(load_recipe("tiny"), *raw).dataset.answers_hard
        assert (hard.guide, hard.cache) == (guide, cache)
    asked = ["dataset.answers_hard.guide=true", "dataset.answers_hard.cache=5m"]
    assert as_of_format(load_recipe("tiny", asked), *raw).dataset.answers_hard.cache == "5m", (
        "how long is free to change"
    )


def test_overrides_of_an_older_run_still_load() -> None:
    old = ["dataset.answers_hard.cache=1h", "seed=3"]
    with pytest.raises(InputError, match="recipe-bad-value"):
        load_recipe("tiny", overrides_of_format(old, 3))
    now = overrides_of_format(old, 2)
    assert load_recipe("tiny", now).dataset.answers_hard.guide and overrides_of_format(now, 2) == now
    for same in (["dataset.answers_hard.cache=off"], ["seed=3"], []):
        assert overrides_of_format(same, 2) == same


def test_a_kept_request_of_an_older_run_can_be_resumed(tmp_path: Path) -> None:
    """What `cogumi resume` starts again: its override had brought the guide along."""
    with RunFolder.open(tmp_path, "old", load_recipe("tiny")) as folder:
        DatasetRequest(recipe="tiny", run="old", overrides=["dataset.answers_hard.cache=5m"]).keep(folder.path)
    with pytest.raises(InputError, match="recipe-bad-value"):
        DatasetRequest.kept(folder.path).load()
    file = folder.path / "run.json"
    file.write_bytes(orjson.dumps({**orjson.loads(file.read_bytes()), "format": 2}))
    hard = DatasetRequest.kept(folder.path).load().dataset.answers_hard
    assert (hard.guide, hard.cache) == (True, "5m")
