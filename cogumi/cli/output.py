"""What the terminal shows: tables and errors on stderr, results on stdout; with --json one document on stdout."""

from __future__ import annotations

from typing import Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cogumi.errors import CogumiError

console = Console(stderr=True)

JsonOption = typer.Option(False, "--json", help="Print one JSON document on stdout.")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def print_error(error: CogumiError, as_json: bool) -> None:
    """Code, cause and remedy on stderr; with --json also as a document on stdout."""
    if as_json:
        print_json({"error": error.as_json()})
    console.print(f"[bold red]{error.code}[/] {escape(error.detail)}", highlight=False)
    console.print(f"  cause:  {escape(error.entry.cause)}", highlight=False)
    console.print(f"  remedy: {escape(error.entry.remedy)}", highlight=False)


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A table; numbers are right-aligned."""
    made = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], int | float) for row in rows)
        made.add_column(name, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        made.add_row(*(escape(_cell(value)) for value in row))
    return made


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
