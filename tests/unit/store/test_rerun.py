"""The one command that makes again what several commands have made."""

from __future__ import annotations

import pytest

from cogumi.store.rerun import joined

DATA = "cogumi run dataset --recipe tiny --run a"


@pytest.mark.parametrize(
    ("first", "later", "kept", "whole"),
    [
        (DATA, f"{DATA} --change", set(), DATA),
        (f"{DATA} --set seed=2", f"{DATA} --change", set(), DATA),
        (DATA, f"{DATA} --set seed=3 --change", set(), f"{DATA} --set seed=3"),
        (DATA, "cogumi run base --recipe tiny --run a", set(), "cogumi run all --recipe tiny --run a"),
        (
            f"{DATA} --questions my.jsonl --rehearse",
            "cogumi run base --recipe tiny --run a --set base.steps=9 --change",
            set(),
            "cogumi run all --recipe tiny --run a --questions my.jsonl --rehearse --set base.steps=9",
        ),
        (
            "cogumi run all --recipe tiny --run a --set base.steps=9 --set seed=2",
            f"{DATA} --set dataset.split.test=0.2 --change",
            {"base"},
            "cogumi run all --recipe tiny --run a --set base.steps=9 --set dataset.split.test=0.2",
        ),
        (DATA, "cogumi run train --recipe other.yaml --run a", set(), "cogumi run all --recipe other.yaml --run a"),
        ("cogumi run base --run b --dataset x@v1", "cogumi run base --run b --dataset x@v1 --set base.steps=3", set(),
         "cogumi run base --run b --dataset x@v1 --set base.steps=3"),
        (DATA, "", set(), DATA),
        ("", DATA, set(), DATA),
        ("from a notebook", DATA, set(), DATA),
    ],
)  # fmt: skip
def test_what_was_made_by_two_commands_is_made_by_one(first: str, later: str, kept: set[str], whole: str) -> None:
    assert joined(first, later, kept) == whole
