"""Push: an artifact's files to a model hub, in one commit, private unless it is said otherwise.

    plan = plan_push(folder, check_folder(folder), "me/Llama-demo", card)
    told = push(plan)

The folder is checked against its receipt before anything is sent; only files that hold data go. What the hub then has
is compared with what was sent, file by file. The hub's address is HF_ENDPOINT, the token HF_TOKEN, as its library reads
them. A push that was broken off is repeated: large files that the hub has already are not sent again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from cogumi.errors import InputError, RunError
from cogumi.store.artifacts import RECEIPT, verify
from cogumi.store.files import sha256_of

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_DATA = (".json", ".jsonl", ".safetensors", ".jinja", ".md")
CARD = "README.md"


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What would be sent where. `card` stands in for a README.md that the folder lacks."""

    folder: Path
    repository: str
    public: bool
    endpoint: str
    files: dict[str, int]
    """Bytes by name."""
    hashes: dict[str, str]
    """SHA-256 of the artifact's own files, as they were checked."""
    left_out: list[str]
    card: str

    @property
    def bytes(self) -> int:
        return sum(self.files.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "repository": self.repository, "hub": self.endpoint, "visibility": "public" if self.public else "private",
            "files": self.files, "left_out": self.left_out, "bytes": self.bytes,
        }  # fmt: skip


def plan_push(folder: Path, receipt: Mapping[str, Any], repository: str, card: str, public: bool = False) -> PushPlan:
    """What of a folder goes where, by the receipt that `check_folder` gave; nothing is sent. Raises InputError
    hub-name-refused.
    """
    if not _NAME.fullmatch(repository) or ".." in repository or "--" in repository:
        raise InputError("hub-name-refused", repr(repository))
    known = {**{name: int(entry["bytes"]) for name, entry in receipt["files"].items()},
             RECEIPT: (folder / RECEIPT).stat().st_size}  # fmt: skip
    files = {name: size for name, size in sorted(known.items()) if name.endswith(_DATA)}
    files.setdefault(CARD, len(card.encode()))
    left_out = sorted(known.keys() - files.keys())
    hashes = {name: str(entry["sha256"]) for name, entry in receipt["files"].items()}
    return PushPlan(folder, repository, public, HfApi().endpoint, files, hashes, left_out, card)


def push(plan: PushPlan) -> dict[str, Any]:
    """Send it; returns the commit and its address.

    Raises InputError hub-token-missing, hub-repository-public; RunError hub-refused, hub-unreachable, hub-differs.
    """
    if not get_token():
        raise InputError("hub-token-missing", plan.endpoint)
    api = HfApi()
    try:
        _make(api, plan)
        told = api.create_commit(
            plan.repository, [_operation(plan, name) for name in plan.files],
            commit_message=f"cogumi push: {plan.folder.name}",
        )  # fmt: skip
        commit = str(told.oid)
        _compare(api, plan, commit)
    except HfHubHTTPError as error:
        raise RunError("hub-refused", f"{plan.repository}: {error.server_message or error}") from None
    except RuntimeError as error:  # its library's, where a large file is not taken
        raise RunError("hub-refused", f"{plan.repository}: {error}; {error.__cause__}") from None
    except (httpx.HTTPError, OSError) as error:
        raise RunError("hub-unreachable", f"{plan.endpoint}: {error!r}") from None
    return {**plan.to_json(), "commit": commit, "url": f"{plan.endpoint}/{plan.repository}"}


def _make(api: HfApi, plan: PushPlan) -> None:
    """The repository, if it is not there; one that anybody can read takes nothing that was to be private."""
    try:
        private = bool(api.repo_info(plan.repository).private)
    except RepositoryNotFoundError:
        api.create_repo(plan.repository, private=not plan.public, exist_ok=True)
        private = bool(api.repo_info(plan.repository).private)
    if not private and not plan.public:
        raise InputError("hub-repository-public", plan.repository)


def _operation(plan: PushPlan, name: str) -> CommitOperationAdd:
    file = plan.folder / name
    return CommitOperationAdd(name, file if file.is_file() else plan.card.encode())


def _compare(api: HfApi, plan: PushPlan, commit: str) -> None:
    """Every file at the commit, by the hash that the hub keeps of it."""
    there = {
        entry.path: entry for entry in api.get_paths_info(plan.repository, list(plan.files), revision=commit)
        if isinstance(entry, RepoFile)
    }  # fmt: skip
    for name in plan.files:
        file, entry = plan.folder / name, there.get(name)
        if entry is not None and entry.lfs is not None:
            same = entry.lfs.sha256 == (plan.hashes.get(name) or sha256_of(file))
        else:
            content = file.read_bytes() if file.is_file() else plan.card.encode()
            same = entry is not None and entry.blob_id == _git_hash(content)
        if not same:
            raise RunError("hub-differs", f"{plan.repository}@{commit}: {name}")


def _git_hash(content: bytes) -> str:
    """As git names a file's content."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def check_folder(folder: Path) -> dict[str, Any]:
    """The receipt of an artifact, its files checked. Raises InputError nothing-to-push where there is none,
    StorageError artifact-damaged.
    """
    if not (folder / RECEIPT).is_file():
        raise InputError("nothing-to-push", str(folder))
    return verify(folder)
