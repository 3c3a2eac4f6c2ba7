"""The command that makes a run again, from the commands that have made it so far.

joined("cogumi run dataset --recipe tiny --run a", "cogumi run base --recipe tiny --run a --set base.steps=9 --change")
# cogumi run all --recipe tiny --run a --set base.steps=9
"""

from __future__ import annotations

import shlex
from collections.abc import Collection

from cogumi.recipe.changes import part_of_key

_RUN = ["cogumi", "run"]
_FROM_NOTHING = (["dataset"], ["all"])
"""Stages whose command starts with an empty folder; others read what the run holds."""


def joined(first: str, later: str, kept: Collection[str] = ()) -> str:
    """One command for what two have made, without --change, which a new run does not need. A run that was not started
    with its dataset has the later command.

    Args:
        kept: the parts of the recipe in which the run stays as `first` made it.
    """
    before, after = shlex.split(first), shlex.split(later)
    if before[:2] != _RUN or after[:2] != _RUN or before[2:3] not in _FROM_NOTHING:
        return later or first
    stage = "dataset" if before[2:3] == after[2:3] == ["dataset"] else "all"
    (others, held), (own, asked) = _apart(before), _apart(after)
    words = own if after[2:3] in _FROM_NOTHING else others
    if "--recipe" in words and "--recipe" in own:
        words[words.index("--recipe") + 1] = own[own.index("--recipe") + 1]
    overrides = [each for each in held if _part(each) in kept] + [each for each in asked if _part(each) not in kept]
    return shlex.join([*_RUN, stage, *words, *(word for each in overrides for word in ("--set", each))])


def _apart(command: list[str]) -> tuple[list[str], list[str]]:
    """The words after the stage without overrides and --change, and the overrides."""
    words, overrides = list[str](), list[str]()
    rest = iter(command[3:])
    for word in rest:
        if word == "--set":
            overrides.append(next(rest, ""))
        elif word != "--change":
            words.append(word)
    return words, overrides


def _part(override: str) -> str:
    return part_of_key(override.partition("=")[0])
