"""A model hub on loopback that keeps what it is given: the calls that creating, committing and downloading take.

As the real one it stores large files by their SHA-256 (LFS), small ones in the commit, and answers for who may see what.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

TOKEN = "hf_loopback"


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def newest(self) -> str:
        return list(self.commits)[-1] if self.commits else "0" * 40


@dataclass
class Hub:
    """`refuse` answers 403 to that many uploads of large files before it takes one; `spoil` changes a file it stores."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    endpoint: str = ""
    refuse: int = 0
    spoil: str = ""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = self._repository(path.removeprefix("/api/models/")) if path.startswith("/api/models/") else None
        if name and "/tree/" in path:
            files = self.hub.repositories[name].commits[path.rpartition("/")[2]]
            self._json([_entry(file, content) for file, content in files.items()])
        elif name:
            repo = self.hub.repositories[name]
            siblings = [{"rfilename": file} for file in repo.commits.get(repo.newest, {})]
            self._json({"id": name, "sha": repo.newest, "private": repo.private, "siblings": siblings})
        else:
            self._file(path, body=True)

    def do_HEAD(self) -> None:
        self._file(self.path.split("?")[0], body=False)

    def do_PUT(self) -> None:
        content, oid = self._body(), self.path.rpartition("/")[2]
        if self.hub.refuse:
            self.hub.refuse -= 1
            self._json({"error": "not now"}, 403)
            return
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.blobs[oid] = content
        self.hub.uploads.append(oid)
        self._json({})

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid credentials in Authorization header"}, 401)
        elif self.path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization']}/{told['name']}"
            private = told["visibility"] == "private" if "visibility" in told else bool(told.get("private"))
            self.hub.repositories[name] = Repository(private)
            self._json({"url": f"{self.hub.endpoint}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                      "shouldIgnore": False} for f in files]  # fmt: skip
            self._json({"files": modes})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._json({"transfer": "basic", "objects": [self._wanted(o) for o in json.loads(body)["objects"]]})
        elif "/commit/" in self.path:
            self._commit([json.loads(line) for line in body.splitlines()])
        elif "/paths-info/" in self.path:
            self._paths(body)
        else:
            self._json({"error": "not found"}, 404)

    def _repository(self, path: str) -> str | None:
        name = "/".join(path.split("/")[:2])
        found = self.hub.repositories.get(name)
        allowed = found is not None and (not found.private or self.headers.get("Authorization") == f"Bearer {TOKEN}")
        return name if allowed else None

    def _wanted(self, told: dict[str, Any]) -> dict[str, Any]:
        if told["oid"] in self.hub.blobs:
            return {"oid": told["oid"], "size": told["size"]}
        href = f"{self.hub.endpoint}/lfs/{told['oid']}"
        return {"oid": told["oid"], "size": told["size"], "actions": {"upload": {"href": href}}}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        name = "/".join(self.path.removeprefix("/api/models/").split("/")[:2])
        repo = self.hub.repositories[name]
        files = dict(repo.commits.get(repo.newest, {}))
        for line in lines[1:]:
            told = line["value"]
            content = self.hub.blobs[told["oid"]] if line["key"] == "lfsFile" else base64.b64decode(told["content"])
            files[told["path"]] = content + b"?" if told["path"] == self.hub.spoil else content
        commit = hashlib.sha1(repr(sorted(files)).encode() + repo.newest.encode()).hexdigest()
        repo.commits[commit] = files
        self._json({"commitOid": commit, "commitUrl": f"{self.hub.endpoint}/{name}/commit/{commit}", "hookOutput": ""})

    def _paths(self, body: bytes) -> None:
        name, commit = self.path.removeprefix("/api/models/").split("/paths-info/")
        files, asked = self.hub.repositories[name].commits[unquote(commit)], parse_qs(body.decode())["paths"]
        self._json([_entry(path, files[path]) for path in asked if path in files])

    def _file(self, path: str, body: bool) -> None:
        name = self._repository(path.strip("/"))
        parts = path.strip("/").split("/")
        if name is None or len(parts) < 5 or parts[2] != "resolve":
            self._json({"error": "Repository not found"}, 404, RepoNotFound=True)
            return
        repo = self.hub.repositories[name]
        commit = repo.newest if parts[3] == "main" else parts[3]
        content = repo.commits[commit].get("/".join(parts[4:]))
        if content is None:
            self._json({"error": "Entry not found"}, 404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, value: Any, status: int = 200, RepoNotFound: bool = False) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        if RepoNotFound:
            self.send_header("X-Error-Code", "RepoNotFound")
        if status >= 400:
            self.send_header("X-Error-Message", str(value["error"]))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _entry(path: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it: by git's hash, and by SHA-256 where it is a large one."""
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(content),
                             "oid": hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()}  # fmt: skip
    if path.endswith(".safetensors"):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub until the end of the block."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
