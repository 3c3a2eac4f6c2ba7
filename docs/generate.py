"""Write the reference pages that follow from the code: errors, recipe, commands. --check fails on a stale one."""

from __future__ import annotations

import os
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

os.environ["COLUMNS"] = "100"

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cogumi.errors import CATALOGUE
from cogumi.recipe import Recipe
from cogumi.teachers.wire_errors import WIRE

REFERENCE = Path(__file__).parent / "reference"
_OUTPUT = """## Output

Results go to stdout; progress, notices, logs and errors to stderr. With `--json` stdout holds exactly one JSON
document, the result or `{"error": ...}`; progress stays on stderr.

On a terminal progress is shown as bars. On a pipe or in a file it is lines, at least one every 10 seconds and at
most one every 2, with the stage, what it is doing, how much is done, the rate and the time left. A step that gives
no event for longer is named by a line that begins with `still` and ends with the seconds since the last event:

    train: meta 40/120 steps, 3.2/s, 00:25 left, loss 2.113, gain 0.120, 3,400 tokens/s
    still: train: closing table: meta: adaptation 12/24 episodes, 7 s

Text is printed as it is; control characters in it are shown as escapes (`\\x1b`).
"""
_NOTE = "<!-- Written by `python -m docs.generate`; do not edit. -->\n"


def errors_page() -> str:
    """Every error code with cause and remedy."""
    rows = "".join(f"| `{code}` | {entry.cause} | {entry.remedy} |\n" for code, entry in sorted(CATALOGUE.items()))
    wire = "".join(
        f"| `{code}` | {f.cause} | {_tick(f.retry)} | {_tick(f.billable)} | {_tick(f.fatal)} | {f.remedy} |\n"
        for code, f in sorted(WIRE.items())
    )
    return f"""# Errors

{_NOTE}
Every error has a code, a cause and a remedy. Exit codes: 1 internal, 2 input, 3 storage, 4 run, 5 budget, 6 teacher,
130 interrupted. `COGUMI_TRACEBACK=1` adds the traceback.

| Code | Cause | Remedy |
|---|---|---|
{rows}
## Errors of a provider or the wire to it

`again`: worth another attempt. `billable`: the provider may have charged, so the attempt's worst case stays at risk.
`ends`: later calls to this teacher are not made.

| Code | Cause | Again | Billable | Ends | Remedy |
|---|---|---|---|---|---|
{wire}"""


def recipe_page() -> str:
    """Every key of a recipe."""
    parts = [
        f"# Recipe\n\n{_NOTE}\nOne YAML says a whole run. Unknown keys are errors; "
        "`--set section.key=value` changes one key.\n"
    ]
    seen: set[type[BaseModel]] = set()
    _section("", Recipe, parts, seen)
    return "\n".join(parts)


def commands_page() -> str:
    """Every command with its options."""
    from typer.main import get_command  # noqa: PLC0415

    from cogumi.cli.main import app  # noqa: PLC0415

    parts = [f"# Commands\n\n{_NOTE}\nEvery command takes `--json` and `--help`.\n\n{_OUTPUT}"]
    _command("cogumi", get_command(app), parts)
    return "\n".join(parts)


def _section(path: str, model: type[BaseModel], parts: list[str], seen: set[type[BaseModel]]) -> None:
    seen.add(model)
    rows, inner = [], []
    for name, field in model.model_fields.items():
        plain = _without_bounds(field.annotation)
        kind = str(plain).replace("typing.", "").replace("cogumi.recipe.sections.", "").replace("|", "\\|")
        kind = getattr(plain, "__name__", kind) if isinstance(plain, type) else kind
        default = (
            ""
            if field.default is PydanticUndefined
            else f"`{field.default!r}`"
            if not isinstance(field.default, BaseModel)
            else ""
        )
        rows.append(f"| `{name}` | {kind} | {default} | {field.description or ''} |")
        inner += [(name, found) for found in _models(field.annotation) if found not in seen]
    doc = (model.__doc__ or "").strip()
    parts.append(
        f"## {path or 'Top level'}\n\n{doc}\n\n| Key | Type | Default | What it does |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    for name, found in inner:
        if found not in seen:
            _section(f"{path}.{name}".strip("."), found, parts, seen)


def _without_bounds(annotation: Any) -> Any:
    """The type alone: what is checked beside it is not shown."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _without_bounds(inner[0])
    if origin in (Union, UnionType):
        return reduce(or_, map(_without_bounds, inner))
    return origin[tuple(map(_without_bounds, inner))] if origin in (dict, list, tuple) else annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _models(argument)]


def _command(name: str, command: Any, parts: list[str]) -> None:
    children = command.loaded() if hasattr(command, "loaded") else getattr(command, "commands", {})
    if not children:
        lines = [f"## {name}\n", (command.help or "").strip(), ""]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            names = ", ".join(f"`{option}`" for option in parameter.opts)
            default = parameter.default
            shown = (
                ""
                if default in (None, "", False, (), []) or callable(default) or "Sentinel" in repr(default)
                else f" (default `{default}`)"
            )
            lines.append(f"- {names}: {getattr(parameter, 'help', '') or ''}{shown}")
        parts.append("\n".join(lines) + "\n")
    for child, inner in children.items():
        _command(f"{name} {child}", inner, parts)


def _tick(value: bool) -> str:
    return "yes" if value else ""


def main() -> int:
    pages = {"errors.md": errors_page(), "recipe.md": recipe_page(), "commands.md": commands_page()}
    check = "--check" in sys.argv
    stale = []
    for name, text in pages.items():
        path = REFERENCE / name
        text = text.rstrip() + "\n"
        if not path.is_file() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    if check and stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
