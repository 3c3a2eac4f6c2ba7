"""What a recipe changes about a run that exists, told by the dry run of a stage."""

from __future__ import annotations

from cogumi.cli.output import note
from cogumi.recipe.changes import QUESTIONS
from cogumi.store.run_changes import RunChanges, part_of


def tell_changes(run: str, found: RunChanges, stage: str, allowed: bool) -> None:
    """Keys that differ with old and new value: those that need `--change`, then the others."""
    if found.refused_for(stage, allowed=True):
        note(f"{run} was made by {_what(found)}, and a part before {part_of(stage)} differs: {found.describe()}")
    elif found.content:
        needed = "it is made anew" if allowed else "to make it anew add --change"
        note(f"{run} was made by {_what(found)}; {needed}:{found.describe()}")
    others = found.describe_others()
    if others:
        note(f"changed, and nothing is made anew for it:{others}")


def _what(found: RunChanges) -> str:
    keys = {change.key for change in found.changes}
    return "other questions" if keys == {QUESTIONS} else "another recipe"
