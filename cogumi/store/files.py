"""Files that are whole or absent: written beside their place, flushed to disk, then renamed into it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from cogumi.errors import storage_error


def write_atomic(path: Path, content: bytes) -> str:
    """Write a whole file and return its sha256; a crash leaves the old file or none, never a part.

    Raises StorageError: disk-full, disk-error.
    """
    with writing(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    """One JSON object a line, UTF-8, written atomically and row by row; returns the sha256."""
    digest = hashlib.sha256()
    with writing(path) as file:
        for row in rows:
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path`, flushed to disk, when the block ends, and not at all where it fails.

    Raises StorageError: disk-full, disk-error.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            yield file
            written = file.tell()
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        _forget(beside)
        raise storage_error(error, path, written) from error
    except BaseException:
        _forget(beside)
        raise


def write_json(path: Path, value: Any) -> str:
    """Indented JSON with sorted keys, written atomically; returns the sha256."""
    return write_atomic(
        path,
        orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE),
    )


def create_exclusively(path: Path, content: bytes) -> None:
    """Write a whole file where there is none, atomically: of several writers one succeeds.

    Raises FileExistsError; StorageError disk-full, disk-error.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    write_atomic(beside, content)
    try:
        os.link(beside, path)  # fails where the name is taken, unlike a rename
        sync_folder(path.parent)
    finally:
        beside.unlink()


def read_json(path: Path) -> Any:
    """The value in a file this project wrote. Raises StorageError disk-error."""
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise storage_error(error, path) from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file this project wrote; a damaged line is an error."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield orjson.loads(line)
    except OSError as error:
        raise storage_error(error, path) from error


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A line of a foreign file that cannot be used, by file and line number (from 1)."""

    file: str
    line: int
    reason: str
    text: str


def read_foreign_jsonl(path: Path, most_bytes: int = 1 << 20) -> Iterator[tuple[int, dict[str, Any]] | Quarantined]:
    """Rows of a file somebody else wrote, with line numbers; what cannot be read comes as Quarantined, nothing is
    skipped in silence.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                yield _foreign_row(path, number, line, most_bytes)
    except OSError as error:
        raise storage_error(error, path) from error


def read_foreign_json(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Quarantined]:
    """The rows of a JSON array somebody else wrote, numbered from 1; a file that is no array is one Quarantined."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        rows = orjson.loads(content.lstrip(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        rows = None
    if not isinstance(rows, list):
        yield Quarantined(str(path), 1, "not-an-array", content[:400].decode("utf-8", "replace"))
        return
    for number, row in enumerate(rows, 1):
        yield (
            (number, row) if isinstance(row, dict) else Quarantined(str(path), number, "not-an-object", str(row)[:400])
        )


def _foreign_row(path: Path, number: int, line: bytes, most_bytes: int) -> tuple[int, dict[str, Any]] | Quarantined:
    def bad(reason: str) -> Quarantined:
        return Quarantined(str(path), number, reason, line[:400].decode("utf-8", "replace").rstrip("\n"))

    if len(line) > most_bytes:
        return bad("line-too-long")
    try:
        row = orjson.loads(line.lstrip(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return bad("not-json")
    return (number, row) if isinstance(row, dict) else bad("not-an-object")


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the first error is the one worth reporting; a leftover .part file is harmless
        return
