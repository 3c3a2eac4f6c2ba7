"""ObjectStore: bytes under paths, in a folder or in an S3 bucket (any fsspec URL), with one code and one retry policy.

    store = ObjectStore("s3://bucket/artifacts")
    store.put_file("data/ab12/model.safetensors", Path("model.safetensors"))   # in parts where it is large
    store.create("manifests/v0001.json", b"...")                               # False where it is there already

The retries of botocore and s3fs are switched off: they would take the second answer to a conditional put for the truth.
An answer that was lost is ambiguous: the put may have been done. `create` then reads what stands there, and it is ours
where it is what we wrote; callers see to it that no two writers write the same bytes.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cogumi.errors import StorageError, storage_error
from cogumi.extras import need
from cogumi.store.files import create_exclusively, sha256_of, write_atomic, writing

PART_BYTES = 50 * 2**20
_ATTEMPTS = 12
_LONGEST_WAIT = 50  # times the first
_BLOCK = 1 << 20
_READS = 3  # of bytes with another hash: a cut answer may pass for a whole one
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidToken", "TokenRefreshRequired")
_REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "AllAccessDisabled")
_TAKEN = ("PreconditionFailed", "412")
_S3 = ("s3://", "s3a://")
Result = TypeVar("Result")


class ObjectStore:
    """Objects below a URL. Every call raises StorageError: store-refused, store-unreachable, disk-full, disk-error.

    Opening one on S3 raises InputError extra-missing where the extra `s3` is not installed.
    """

    def __init__(
        self, url: str, options: dict[str, Any] | None = None, attempts: int = _ATTEMPTS, first_wait_s: float = 0.1
    ) -> None:
        self.url = url
        self._options = dict(options or {})
        self._attempts = attempts
        self._first_wait_s = first_wait_s
        self._may_pass: tuple[type[Exception], ...] = (OSError,)
        if url.startswith(_S3):
            need(url, "s3fs", "botocore")
            import aiohttp  # noqa: PLC0415 - half a second, for S3 alone
            from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - the extra `s3`

            self._may_pass = (OSError, BotoCoreError, aiohttp.ClientError)
        self._fs, self._base = self._connect()
        self._local = "file" in self._fs.protocol

    def put(self, path: str, content: bytes) -> None:
        """Write an object whole, over whatever stands there."""
        if self._local:
            write_atomic(Path(self._place(path)), content)
        else:
            self._try(path, lambda: self._fs.pipe_file(self._place(path), content))

    def put_file(self, path: str, source: Path, part_bytes: int = PART_BYTES) -> None:
        """Write a file as an object, a large one in parts; nothing is seen before the last part is there."""
        if self._local:
            with source.open("rb") as read, writing(Path(self._place(path))) as written:
                shutil.copyfileobj(read, written, _BLOCK)
        else:
            self._try(path, lambda: self._fs.put_file(str(source), self._place(path), chunksize=part_bytes))

    def create(self, path: str, content: bytes) -> bool:
        """Write an object where there is none; False where somebody else's is there. The bytes must be the caller's own
        (hold something that no other writer writes).
        """
        if self._local:
            try:
                create_exclusively(Path(self._place(path)), content)
            except FileExistsError:
                return False
            return True
        return self._try(path, lambda: self._create_remote(path, content))

    def get(self, path: str) -> bytes:
        """The bytes of an object. Raises FileNotFoundError where there is none."""
        return bytes(self._try(path, lambda: self._fs.cat_file(self._place(path))))

    def get_file(self, path: str, target: Path, sha256: str) -> None:
        """Copy an object into a file, which appears only where the bytes have this hash; other bytes are read again.

        Raises FileNotFoundError, and StorageError artifact-damaged for other bytes.
        """
        beside = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(_READS):
                if self._try(path, lambda: self._get_file(path, beside)) == sha256:
                    beside.replace(target)
                    return
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, target) from error
        finally:
            beside.unlink(missing_ok=True)
        raise StorageError("artifact-damaged", f"{self.url}: {path}")

    def names(self, folder: str) -> list[str]:
        """The names directly below a folder, sorted; none where there is no such folder."""

        def listed() -> list[str]:
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._place(folder), detail=False)
            except FileNotFoundError:
                return []
            return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)

        return self._try(folder, listed)

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""

        def removed() -> None:
            try:
                self._fs.rm_file(self._place(path))
            except FileNotFoundError:
                return

        self._try(path, removed)

    # -- inside

    def _place(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _connect(self) -> tuple[Any, str]:
        import fsspec  # noqa: PLC0415 - 0.1 s, and every request's module imports this one

        options = dict(self._options)
        if self.url.startswith(_S3):
            config = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 120}
            options["config_kwargs"] = {**config, **options.get("config_kwargs", {})}
            options |= {"skip_instance_cache": True, "use_listings_cache": False}
        filesystem, inner = fsspec.core.url_to_fs(self.url, **options)
        if "s3" in filesystem.protocol:
            filesystem.retries = 1
        return filesystem, str(inner).rstrip("/")

    def _create_remote(self, path: str, content: bytes) -> bool:
        try:
            self._fs.pipe_file(self._place(path), content, mode="create")
        except OSError as error:
            if not isinstance(error, FileExistsError) and _code(error) not in _TAKEN:
                raise
            # Somebody was first: perhaps we ourselves, by a put whose answer was lost.
            return bytes(self._fs.cat_file(self._place(path))) == content
        return True

    def _get_file(self, path: str, beside: Path) -> str:
        """Copy an object beside where it belongs; returns the hash of what came."""
        self._fs.get_file(self._place(path), str(beside))
        return sha256_of(beside)

    def _try(self, path: str, action: Callable[[], Result]) -> Result:
        """Do it, again after failures that may pass. A missing object is the caller's matter."""
        for attempt in range(1, self._attempts + 1):
            try:
                return action()
            except StorageError:
                raise
            except self._may_pass as error:
                code = _code(error)
                if code in _REFUSED:
                    raise StorageError("store-refused", f"{self.url}/{path}: {code}") from error
                if isinstance(error, FileNotFoundError):
                    raise
                if attempt == self._attempts or self._local:
                    told = code or type(error).__name__
                    raise StorageError("store-unreachable", f"{self.url}/{path}: {told} {attempt} times") from error
                if code in _EXPIRED:
                    self._fs, self._base = self._connect()  # reads the credentials anew
            time.sleep(self._wait_s(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _wait_s(self, attempt: int) -> float:
        return random.uniform(0, self._first_wait_s * min(_LONGEST_WAIT, 2**attempt))  # nosec B311 # jitter


def put_twice(store: ObjectStore, path: str) -> bool:
    """Whether a store keeps the first of two conditional puts, as publishing needs; its trace is removed."""
    first, second = store.create(path, b"first"), store.create(path, b"second")
    kept = store.get(path) == b"first"
    store.delete(path)
    return first and not second and kept


def _code(error: BaseException) -> str:
    """The code of an S3 error, from the client's error that s3fs has put behind its own; empty for others."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
        seen = seen.__cause__
    return ""
