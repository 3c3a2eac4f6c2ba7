"""What the command line prints: results on stdout; notices, progress and errors on stderr. Nothing else prints.

    say_done("800 rows in 12.3 s")
    say("  verdict: ", (verdict, "bold"))         # a part is text, or (text, style)
    note("resuming demo")                         # stderr
    print_table("Artifacts", ["name", "bytes"], rows)

Text is printed as it is: nothing in it is taken for markup, an emoji code or a number to colour, and control characters
are shown as escapes, so that a provider's reply or a file's name cannot move the cursor or change a colour.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cogumi.errors import CogumiError

RESULTS = Console(markup=False, highlight=False, emoji=False)
NOTICES = Console(stderr=True, markup=False, highlight=False, emoji=False)

JsonOption = typer.Option(False, "--json", help="Print one JSON document on stdout.")

Part = str | tuple[str, str]
"""Text, or (text, style)."""
_PIPE = 10_000  # characters
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    r"""Text without control characters, which are shown as escapes (`\x1b`); line feeds and tabs stay.

    Controls of the writing direction, line separators and lone surrogates (of a file's name) count too.
    """
    return _CONTROL.sub(_escape, text)


def say(*parts: Part) -> None:
    """A line of a result on stdout. It is never broken, so that a path stays whole."""
    _print(RESULTS, parts)


def say_done(text: str) -> None:
    """The line that says what a command has made, on stdout."""
    say(("done", "bold green"), f" {text}")


def note(*parts: Part) -> None:
    """A line on stderr: a notice or progress."""
    _print(NOTICES, parts)


def warn(what: str, why: str = "") -> None:
    """A notice on stderr that something was not done or is not as it should be."""
    note((what, "yellow"), f": {why}" if why else "")


def print_json(value: Any, *, indent: bool = True) -> None:
    """One JSON document on stdout; on one line without `indent`."""
    option = orjson.OPT_INDENT_2 if indent else None
    try:
        text = orjson.dumps(value, option=option, default=str).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, of a file's name
        text = orjson.dumps(_encodable(value), option=option, default=str).decode()
    typer.echo(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_error(error: CogumiError, as_json: bool) -> None:
    """Code, cause and remedy on stderr; with --json also as a document on stdout."""
    if as_json:
        print_json({"error": error.as_json()})
    note((error.code, "bold red"), f" {error.detail}")
    note(f"  cause:  {error.entry.cause}")
    note(f"  remedy: {error.entry.remedy}")


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None = None, decimals: int = 2
) -> None:
    """A table on stdout; numbers are right-aligned. `width` is in characters, by default the terminal's; a pipe has
    none.
    """
    shown = Table(title=Text(plain(title)) if title else None, title_justify="left")
    for place, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], int | float) for row in rows)
        header = Text(plain(name))
        shown.add_column(header, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(plain(_cell(value, decimals))) for value in row))
    console = RESULTS
    if width or not (RESULTS.is_terminal or "COLUMNS" in os.environ):  # a pipe has no width, so no cell is broken
        console = Console(width=width or _PIPE, markup=False, highlight=False, emoji=False)
    with console.capture() as printed:
        console.print(shown)
    typer.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _print(console: Console, parts: Sequence[Part]) -> None:
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(plain(words), style)
    console.print(text, soft_wrap=True)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(each) for each in value]
    return value


def _cell(value: Any, decimals: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{decimals}f}"
