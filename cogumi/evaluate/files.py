"""Files of benchmarks: JSON lines, JSON, CSV and TSV, zipped or not, each row as a dict of what it holds."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cogumi.errors import InputError


def read_text(file: Path) -> str:
    """Raises InputError benchmark-unreadable."""
    try:
        raw = file.read_bytes()
        return (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise InputError("benchmark-unreadable", f"{file}: {error}") from None


def json_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Of JSON lines, or of a JSON list. Raises InputError benchmark-unreadable."""
    text = read_text(file)
    try:
        found = orjson.loads(text) if text.lstrip().startswith("[") else [
            orjson.loads(line) for line in text.split("\n") if line.strip()
        ]  # fmt: skip
    except orjson.JSONDecodeError as error:
        raise InputError("benchmark-unreadable", f"{file}: {error}") from None
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise InputError("benchmark-unreadable", f"{file}: row {number} is no object")
        yield row


def table_rows(file: Path, separator: str = ",") -> Iterator[list[str]]:
    """Of CSV or TSV; line breaks inside quotes belong to their cell. Raises InputError benchmark-unreadable."""
    text = io.StringIO(read_text(file), newline="")
    try:
        if separator == ",":
            yield from (row for row in csv.reader(text) if row)
        else:
            yield from (row for row in csv.reader(text, delimiter=separator, quoting=csv.QUOTE_NONE) if row)
    except csv.Error as error:
        raise InputError("benchmark-unreadable", f"{file}: {error}") from None


def needed(row: dict[str, Any], columns: tuple[str, ...], file: Path) -> None:
    """Raises InputError benchmark-columns where one is missing."""
    missing = [column for column in columns if column not in row]
    if missing:
        raise InputError("benchmark-columns", f"{file}: no {', '.join(missing)}; there are {', '.join(row)}")
