"""Models from a hub, over real HTTP: one of this test's own, which serves a folder as the hub does."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cogumi.errors import InputError
from cogumi.lm.hub import HUB
from cogumi.lm.model import model_folder
from tests.unit.training.models import llama

NAME = "meta-llama/Llama-3.2-1B-Instruct"
COMMIT = "5a1f" * 10


class Hub(BaseHTTPRequestHandler):
    """The calls that a snapshot takes: what a revision is, its files, and each of them."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        self.asked.append(self.path)
        files = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        name = self.path.split("?")[0].rpartition("/")[2]
        if self.path.startswith(f"/api/models/{NAME}/tree/"):
            listed = [
                {"type": "file", "path": f, "size": len(held), "oid": hashlib.sha1(held).hexdigest()}
                for f, held in files.items()
            ]
            content = json.dumps(listed).encode()
        elif self.path.startswith(f"/api/models/{NAME}"):
            content = json.dumps({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]}).encode()
        elif self.path.startswith(f"/{NAME}/resolve/{COMMIT}/") and name in files:
            content = files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    llama(layers=1).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "modeling_evil.py").write_text("raise SystemExit('run')")
    handler = type("Served", (Hub,), {"folder": tmp_path / "model", "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
    server.shutdown()


def loaded(endpoint: str, home: Path, name: str = NAME) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the address is read when the hub's library is imported."""
    code = (
        "import sys, torch; from cogumi.lm.model import load_llama;"
        "from cogumi.errors import CogumiError\n"
        "try: print(sum(p.numel() for p in load_llama(sys.argv[1], torch.float32, 'cpu').parameters()))\n"
        "except CogumiError as error: print(error.code)"
    )
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", code, name],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=Path(__file__).parents[3],
    )


def test_a_known_id_is_downloaded_as_data_alone(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, asked = hub
    done = loaded(endpoint, tmp_path / "home")
    assert done.stdout.strip() == str(sum(p.numel() for p in llama(layers=1).parameters())), done.stderr
    assert any("model.safetensors" in path for path in asked) and not any("modeling_evil" in path for path in asked)
    assert not list((tmp_path / "home").rglob("*.py")) and NAME in HUB


def test_a_hub_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="model-unreadable"):
        model_folder("meta-llama/Llama-3.2-3B")
