"""Every error a user can meet: a code, what happened, and what to do about it.

    CogumiError
    |-- InputError      exit 2   a recipe, argument, URL or file that cannot be used
    |-- StorageError    exit 3   disk, database, run folder
    |-- RunError        exit 4   a run that cannot go on as asked (Interrupted: exit 130)
    |-- BudgetError     exit 5   the hard budget stopped the run
    `-- TeacherError    exit 6   a provider or the wire to it; may be worth another attempt

`docs/reference/errors.md` is generated from CATALOGUE. Wire errors add facts of their own in
`cogumi.teachers.wire_errors`.
"""

from __future__ import annotations

import errno

from cogumi.errors.data import DATA
from cogumi.errors.entry import ErrorEntry
from cogumi.errors.models import MODELS
from cogumi.errors.validation import VALIDATION

__all__ = [
    "CATALOGUE", "BudgetError", "CogumiError", "ErrorEntry", "InputError", "Interrupted", "RunError", "StorageError",
    "TeacherError", "address_error", "storage_error",
]  # fmt: skip
CATALOGUE: dict[str, ErrorEntry] = {**DATA, **MODELS, **VALIDATION}


class CogumiError(Exception):
    """A failure with a code from the catalogue; str() gives code, detail, cause and remedy on three lines."""

    exit_code = 1

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    @property
    def entry(self) -> ErrorEntry:
        return CATALOGUE[self.code]

    def __str__(self) -> str:
        head = f"[{self.code}] {self.detail}" if self.detail else f"[{self.code}]"
        return f"{head}\n  cause:  {self.entry.cause}\n  remedy: {self.entry.remedy}"

    def as_json(self) -> dict[str, str]:
        return {
            "code": self.code,
            "detail": self.detail,
            "cause": self.entry.cause,
            "remedy": self.entry.remedy,
        }


class InputError(CogumiError):
    """Something the user gave cannot be used."""

    exit_code = 2


class StorageError(CogumiError):
    """Disk, database or run folder."""

    exit_code = 3


class RunError(CogumiError):
    """The run cannot go on as asked."""

    exit_code = 4


class Interrupted(RunError):
    """The user ended the run; exit code 130, as shells expect."""

    exit_code = 130


class BudgetError(CogumiError):
    """The hard budget stopped the run."""

    exit_code = 5


class TeacherError(CogumiError):
    """A provider or the wire to it. `cogumi.teachers.wire_errors` says which codes are worth another attempt."""

    exit_code = 6


def storage_error(error: OSError, path: object, needed_bytes: int = 0) -> StorageError:
    """Translate an OSError at `path` into a StorageError that names path and bytes: one code a cause."""
    size = f", {needed_bytes:,} bytes needed" if needed_bytes else ""
    return StorageError(_CODE_OF_ERRNO.get(error.errno or 0, "disk-error"), f"{path}: {error.strerror or error}{size}")


def address_error(error: OSError, address: str) -> RunError:
    """Translate an OSError of listening at `address` (HOST:PORT) into a RunError."""
    if error.errno in _NO_PERMISSION:
        return RunError("port-not-permitted", address)
    return RunError("port-taken" if error.errno == errno.EADDRINUSE else "address-unusable", f"{address}: {error}")


_NO_PERMISSION = (errno.EACCES, errno.EPERM)
_CODE_OF_ERRNO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "disk-full"),
    **dict.fromkeys((*_NO_PERMISSION, errno.EROFS), "permission-denied"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR), "path-taken"),
}
