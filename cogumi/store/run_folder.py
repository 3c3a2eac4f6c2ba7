"""RunFolder: runs/<name>/ with run.json, the ledger, shards, artifacts and reports. One process a stage at a time.

with RunFolder.open(Path("runs"), "demo", recipe) as folder:
    ...
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import subprocess  # nosec B404 # git only, fixed arguments
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from cogumi import __version__
from cogumi.errors import CogumiError, InputError, RunError, StorageError, storage_error
from cogumi.recipe import Recipe, as_of_format, stored_recipe
from cogumi.recipe.changes import ABSENT, QUESTIONS, Change
from cogumi.store.artifacts import RECEIPT
from cogumi.store.files import sha256_of, write_json
from cogumi.store.rerun import joined
from cogumi.store.run_changes import RunChanges, artifact_of, find_changes, part_of, refuse

RUN_FORMAT = 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_VERSIONS_OF = ("prefect", "aiohttp", "openai", "anthropic", "sqlalchemy", "pydantic")
"""Packages that a run depends on; those of an extra are told where it is installed."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run. Paths only; the ledger is opened by whoever writes it."""

    path: Path
    name: str
    resumed: bool
    format: int = RUN_FORMAT

    @property
    def ledger_url(self) -> str:
        return ledger_url(self.path)

    @property
    def name_in_ledger(self) -> str:
        return name_in_ledger(self.path)

    @property
    def shards(self) -> Path:
        return self.path / "shards"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset"

    @staticmethod
    @contextmanager
    def open(
        root: Path,
        name: str,
        recipe: Recipe,
        command: str = "",
        stage: str = "",
        change: bool = False,
        questions: str | None = None,
    ) -> Iterator[RunFolder]:
        """Create or resume a run and hold its lock; a stage that writes to folders of its own has its own lock.

        run.json holds the recipe that is used from then on. `change` allows other content in this stage's part of the
        recipe, or other existing questions (as `Given.summary` tells of them; None: this stage reads none). What was
        finished before is kept in `replaced/`, and run.json holds the recipe before until something else stands in its
        place, or the block has ended well.

        Raises InputError run-name-refused; RunError run-locked, run-recipe-changed; StorageError run-newer,
        run-damaged, disk-full, disk-error.
        """
        path = run_path(root, name)
        with _lock(path, name, f".lock-{stage}" if stage else ".lock"):
            found = _check_or_write(path, name, recipe, command, stage, change, questions)
            try:
                yield RunFolder(path, name, found is not None, found or RUN_FORMAT)
            except BaseException:
                with suppress(CogumiError):
                    _drop_change(path, artifact_of(stage))
                raise
            _end_change(path, artifact_of(stage))


def run_path(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name) or ".." in name:
        raise InputError("run-name-refused", repr(name))
    return (root / name).resolve()


def check_root(root: Path) -> None:
    """See that runs can be written below a folder. Raises StorageError path-taken, permission-denied, disk-full,
    disk-error.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"\0")
    except OSError as error:
        raise storage_error(error, root) from error


def read_run(path: Path) -> dict[str, Any]:
    """run.json of a folder, with the recipe by which what stands there was made. Raises RunError run-not-found,
    StorageError run-damaged or run-newer.
    """
    run = _read_file(path)
    changing = run.pop("changing", None)
    made_by_it = changing and _receipt_hash(path, changing["artifact"]) != changing["receipt"]
    return _changed(run, changing) if made_by_it else run


def _read_file(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    if not file.is_file():
        raise RunError("run-not-found", str(path))
    try:
        run = orjson.loads(file.read_bytes())
        version = int(run["format"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise StorageError("run-damaged", f"{file}: {error}") from error
    if version > RUN_FORMAT:
        raise StorageError(
            "run-newer", f"{path.name}: format {version}, this cogumi ({__version__}) knows {RUN_FORMAT}"
        )
    return dict(run)


def ledger_url(path: Path) -> str:
    """COGUMI_LEDGER_URL where it is set (PostgreSQL), else a SQLite file in the folder."""
    return os.environ.get("COGUMI_LEDGER_URL") or f"sqlite:///{path / 'ledger.db'}"


def name_in_ledger(path: Path) -> str:
    """What a run is called in its ledger: the name that it was started by, whatever its folder is called by now.

    Raises StorageError run-damaged, run-newer.
    """
    return str(_read_file(path).get("name") or path.name) if (path / "run.json").is_file() else path.name


def changes_of_run(path: Path, run: dict[str, Any], recipe: Recipe, questions: str | None = None) -> RunChanges:
    """How a recipe differs from the one in a folder's run.json, both as of the run's format, and the existing questions
    from those that it tells of; None where none are read, and a run from before they were noted has none to compare.
    """
    raw, version = run["recipe"], int(run["format"])
    stored, asked = (as_of_format(each, raw, version) for each in (stored_recipe(raw, version), recipe))
    held = run.get(QUESTIONS)
    differ = held is not None and questions is not None and held != questions
    change = Change(QUESTIONS, held or ABSENT, questions or ABSENT) if differ else None
    return find_changes(path, ledger_url(path), name_in_ledger(path), stored, asked, change)


def _check_or_write(
    path: Path, name: str, recipe: Recipe, command: str, stage: str, change: bool, questions: str | None
) -> int | None:
    """The format of a run that is resumed, or None where one has been started."""
    if (path / "run.json").exists():
        _drop_change(path, artifact_of(stage))  # of one that was killed
        run = read_run(path)
        found = changes_of_run(path, run, recipe, questions)
        refuse(name, found, stage, change)
        told = dict(run)
        if questions is not None:
            told.setdefault(QUESTIONS, questions)
        if not found.changes and stage:
            told["command"] = joined(run["command"], command)  # from now on the run holds what this stage makes too
        if told != run:
            write_json(path / "run.json", told)
            run = told
        if found.changes:
            _record(path, run, found, stage, command, questions)
        return int(run["format"])
    fresh = {
        "format": RUN_FORMAT,
        "name": name,
        "recipe": recipe.model_dump(mode="json"),
        "created": _now(),
        "command": command,
        "cogumi": __version__,
        "git": _git_revision(),
        "python": platform.python_version(),
        "versions": _versions(),
        **({} if questions is None else {QUESTIONS: questions}),
    }
    write_json(path / "run.json", fresh)
    return None


def _record(
    path: Path, run: dict[str, Any], found: RunChanges, stage: str, command: str, questions: str | None
) -> None:
    """Write the recipe that is used from now on; where that takes the place of what is finished, as one to come."""
    change = {
        "at": _now(),
        "command": command,
        "keys": [change.to_json() for change in found.changes],
        "rerun": joined(run["command"], command, found.kept_after(stage)),
        "recipe": found.merged_recipe(stage),
        QUESTIONS: run.get(QUESTIONS) if questions is None else questions,
    }
    artifact = artifact_of(stage)
    receipt = _receipt_hash(path, artifact)
    if receipt and part_of(stage) in found.content:
        write_json(path / "run.json", {**run, "changing": {**change, "artifact": artifact, "receipt": receipt}})
    else:
        write_json(path / "run.json", _changed(run, change))


def _changed(run: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """run.json with a change carried out, and told of."""
    history = [*run.get("changes", []), {key: change[key] for key in ("at", "command", "keys")}]
    new = {key: change[key] for key in ("recipe", QUESTIONS) if change.get(key) is not None}
    command = change.get("rerun") or change["command"] or run["command"]
    return {**run, **new, "command": command, "changes": history}


def _end_change(path: Path, artifact: str) -> None:
    """The stage has ended well: what it was to change is changed, also where the result is the one from before."""
    run = _read_file(path)
    if run.get("changing", {}).get("artifact") == artifact:
        changing = run.pop("changing")
        write_json(path / "run.json", _changed(run, changing))


def _drop_change(path: Path, artifact: str) -> None:
    """The stage has failed, or was killed: the recipe is the one by which what stands there was made."""
    if _read_file(path).get("changing", {}).get("artifact") == artifact:
        write_json(path / "run.json", read_run(path))


def _receipt_hash(path: Path, artifact: str) -> str:
    """Of the receipt of an artifact; empty where there is none."""
    file = path / artifact / RECEIPT
    return sha256_of(file) if file.is_file() else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS_OF:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@contextmanager
def _lock(path: Path, name: str, file: str) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "?"
            raise RunError("run-locked", f"{name} is held by process {holder}") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    except OSError as error:
        raise storage_error(error, path / file) from error
    finally:
        os.close(handle)


def _git_revision() -> str:
    """Revision of the checkout this code runs from, with '+dirty' where it differs; empty outside one."""
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=10)  # nosec B603 B607
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)  # nosec B603 B607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head.stdout.strip() + ("+dirty" if dirty.stdout.strip() else "") if head.returncode == 0 else ""
