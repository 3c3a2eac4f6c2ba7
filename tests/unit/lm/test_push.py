"""cogumi push against a hub on loopback that keeps what it gets: what goes there, who can read it, and what does not go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import snapshot_download

from cogumi.lm.model import load_llama
from cogumi.store.artifacts import new_artifact
from cogumi.store.files import write_json
from tests.unit.lm.loopback_hub import TOKEN, Hub, Repository, serving
from tests.unit.training.models import llama

TO = "me/Llama-mine"
TRAINED = {"dataset": "weekly@v3", "algorithm": "anil", "steps": 20, "base": "meta-llama/Llama-3.1-8B-Instruct"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as made:
        yield made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An artifact as the merge leaves it, with a file that is not data."""
    with new_artifact(tmp_path / "merged", "merge", "0123", {}, 0) as draft:
        llama(layers=1).save_pretrained(draft.path)
        (draft.path / "README.md").write_text("---\nlicense: llama3.1\n---\nmine\n")
        (draft.path / "evil.py").write_text("raise SystemExit")
        draft.metrics |= {"base": TRAINED["base"]}
    return tmp_path / "merged"


def push(hub: Hub, folder: Path, *more: str, to: str = TO, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the address is read when the hub's library is imported."""
    command = [sys.executable, "-m", "cogumi.cli.main", "push", str(folder), "--to", to, "--json", *more]
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder.parent / "home"), "HF_HUB_DISABLE_XET": "1",
                   "PATH": "/usr/bin:/bin", **({"HF_TOKEN": token} if token else {})}  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, cwd=Path(__file__).parents[3]
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_yes_the_plan_is_shown_and_nothing_is_sent(hub: Hub, model: Path) -> None:
    plan = told(push(hub, model, token=""))
    assert plan["visibility"] == "private" and plan["hub"] == hub.endpoint and plan["sent"] is False
    assert plan["files"].keys() == {f.name for f in model.iterdir()} - {"evil.py"} and plan["left_out"] == ["evil.py"]
    assert plan["files"]["model.safetensors"] == (model / "model.safetensors").stat().st_size
    assert not hub.repositories and not hub.uploads


def test_it_is_private_and_comes_back_as_it_was(hub: Hub, model: Path, tmp_path: Path) -> None:
    done = told(push(hub, model, "--yes"))
    assert done["sent"] is True and hub.repositories[TO].private and done["url"] == f"{hub.endpoint}/{TO}"
    assert done["commit"] == hub.repositories[TO].newest
    with pytest.raises(Exception, match=r"(?i)not found|401|404"):
        snapshot_download(TO, endpoint=hub.endpoint, token=False, cache_dir=tmp_path / "stranger")
    back = Path(snapshot_download(TO, endpoint=hub.endpoint, token=TOKEN, cache_dir=tmp_path / "mine"))
    assert {f.name: f.read_bytes() for f in back.iterdir()} == {
        f.name: f.read_bytes() for f in model.iterdir() if f.name != "evil.py"
    }
    assert load_llama(str(back), llama().dtype, "cpu").config.num_hidden_layers == 1
    again = told(push(hub, model, "--yes"))
    assert len(hub.uploads) == 1 and again["sent"], "what the hub has is not sent again"


def test_public_is_asked_for_and_a_public_repository_takes_nothing_private(hub: Hub, model: Path) -> None:
    hub.repositories[TO] = Repository(private=False)
    refused = push(hub, model, "--yes")
    assert refused.returncode == 2 and "hub-repository-public" in refused.stdout and not hub.uploads
    assert told(push(hub, model, "--yes", "--public"))["visibility"] == "public"
    told(push(hub, model, "--yes", "--public", to="me/Llama-other"))
    assert not hub.repositories["me/Llama-other"].private


@pytest.mark.parametrize(("token", "code", "exit_code"), [("", "hub-token-missing", 2), ("hf_other", "hub-refused", 4)])
def test_who_may_not_write_is_told(hub: Hub, model: Path, token: str, code: str, exit_code: int) -> None:
    done = push(hub, model, "--yes", token=token)
    assert done.returncode == exit_code and json.loads(done.stdout.partition("}\n{")[0])["error"]["code"] == code
    assert not hub.repositories and "Traceback" not in done.stderr


def test_a_push_that_is_broken_off_is_gone_on_with_and_what_arrives_changed_is_found(hub: Hub, model: Path) -> None:
    hub.refuse = 100
    assert push(hub, model, "--yes").returncode == 4 and not hub.repositories[TO].commits
    hub.refuse = 0
    hub.spoil = "config.json"
    differs = push(hub, model, "--yes")
    assert differs.returncode == 4 and "hub-differs" in differs.stdout and "config.json" in differs.stdout


def test_a_hub_that_is_not_there(model: Path) -> None:
    done = push(Hub(endpoint="http://127.0.0.1:9"), model, "--yes")
    assert done.returncode == 4 and "hub-unreachable" in done.stdout


def test_what_is_damaged_or_no_artifact_or_badly_named_is_refused(hub: Hub, model: Path, tmp_path: Path) -> None:
    assert "nothing-to-push" in push(hub, tmp_path).stdout
    for name in ("me", "me/../x", "me/a/b", "-me/x"):
        assert "hub-name-refused" in push(hub, model, to=name).stdout, name
    (model / "config.json").write_text("{}")
    done = push(hub, model, "--yes")
    assert done.returncode == 3 and "artifact-damaged" in done.stdout and not hub.repositories


def test_an_adapter_gets_a_card_and_is_told_what_its_licence_asks_of_its_name(hub: Hub, tmp_path: Path) -> None:
    with new_artifact(tmp_path / "adapter", "train_models", "0123", {}, 7) as draft:
        write_json(draft.path / "adapter_config.json", {"r": 4})
        draft.metrics |= TRAINED
    done = told(push(hub, tmp_path / "adapter", "--yes", to="me/mine"))
    assert "asks for a name that begins with Llama" in done["warnings"][0]
    card = hub.repositories["me/mine"].commits[done["commit"]]["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "llama3.1" and front["library_name"] == "peft" and front["base_model"] == TRAINED["base"]
    assert "Built with Llama" in card and "weekly@v3" in card and "0123" in card
    assert told(push(hub, tmp_path / "adapter"))["warnings"] == []
