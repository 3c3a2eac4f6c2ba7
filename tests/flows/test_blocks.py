"""Blocks on a real server: what is saved is given to runs, secrets stay secret, unknown names are said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.blocks.core import Block
from pydantic import SecretStr, ValidationError

from blocks import BLOCKS, ArtifactStore, ProviderCredentials, RecipeBlock
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import InputError
from cogumi.teachers.server.app import Behaviour
from cogumi.teachers.server.serve import LoopbackProcess
from flows.generate_dataset import generate_dataset
from tasks.resources import open_versions, with_recipe_block

pytestmark = pytest.mark.flows
KEY = "sk-test-" + "7a" * 16
SMALL = "dataset.cells={math: {easy: 3}}"


def pointed_at(url: str, variable: str) -> list[str]:
    told = []
    for name in ("questioner", "judge", "answerer", "thinker"):
        root = url if name == "thinker" else f"{url}/v1"
        told += [f"teachers.{name}.base_url={root}", f"teachers.{name}.allow_loopback_http=true"]
        told += [f"teachers.{name}.api_key_env={variable}"]
    return told


async def test_a_run_uses_the_key_of_a_block_and_it_is_written_nowhere(root: Path) -> None:
    """The provider demands the key, and the environment has none."""
    await ProviderCredentials(variable="COGUMI_TEST_KEY", key=SecretStr(KEY)).save("test-provider", overwrite=True)
    with LoopbackProcess(Behaviour(key=KEY)) as provider:
        overrides = [SMALL, *pointed_at(provider.url, "COGUMI_TEST_KEY")]
        request = DatasetRequest(run="keyed", root=str(root), overrides=overrides, credentials=["test-provider"])
        figures = await generate_dataset(request)
        assert figures["rows"] == 3
        without = DatasetRequest(run="keyless", root=str(root), overrides=overrides)
        with pytest.raises(InputError, match=r"key-missing|preflight"):
            await generate_dataset(without)
    for file in root.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_a_secret_is_not_shown_by_anything_that_prints_a_block() -> None:
    block = ProviderCredentials(variable="X_KEY", key=SecretStr(KEY))
    store = ArtifactStore(url="s3://b/p", access_key_id="id", secret_access_key=SecretStr(KEY))
    for shown in (repr(block), str(block), block.model_dump_json(), repr(block.credential()), repr(store)):
        assert KEY not in shown
    assert block.credential().key == KEY and store.options()["secret"] == KEY
    with pytest.raises(ValidationError):
        ProviderCredentials(variable="not a name", key=SecretStr(KEY))


async def test_a_recipe_block_is_the_start_and_the_request_has_the_last_word() -> None:
    block = RecipeBlock(preset="tiny", overrides=[SMALL, "dataset.judge.pass_mean=6"])
    await block.save("ours", overwrite=True)
    asked = DatasetRequest(recipe="demo", recipe_block="ours", overrides=["dataset.judge.pass_mean=5"])
    request = await with_recipe_block(asked)
    recipe = request.load()
    assert recipe.name == "tiny" and recipe.dataset.judge.pass_mean == 5
    assert recipe.dataset.cells == {"math": {"easy": 3}}
    assert block.recipe().dataset.judge.pass_mean == 6
    await RecipeBlock(preset="tiny", overrides=["dataset.nosuch=1"]).save("broken", overwrite=True)
    with pytest.raises(InputError, match="recipe-"):
        await with_recipe_block(DatasetRequest(recipe_block="broken"))


async def test_versions_go_to_the_store_of_a_block(root: Path, tmp_path: Path) -> None:
    await ArtifactStore(url=str(tmp_path / "store")).save("team-store", overwrite=True)
    request = DatasetRequest(
        root=str(root), overrides=[SMALL], dataset="blocked", period="p1", versions="block:team-store"
    )
    await generate_dataset(request)
    versions = await open_versions(request)
    assert versions is not None and versions.get().number == 1
    assert (tmp_path / "store" / "blocked" / "manifests" / "v0001.json").is_file()


def test_s3_through_a_block_reaches_the_server_it_names(s3_endpoint: str) -> None:
    store = ArtifactStore(
        url="s3://cogumi-test/blocks", access_key_id="id", secret_access_key=SecretStr("secret"),
        endpoint_url=s3_endpoint, region="eu-central-1",
    )  # fmt: skip
    assert store.versions("weekly").all() == []


@pytest.mark.parametrize("named", [{"credentials": ["nobody"]}, {"recipe_block": "nobody"}])
async def test_a_block_that_is_not_there_is_named(root: Path, named: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"block-unknown.*nobody"):
        await generate_dataset(DatasetRequest(run="none", root=str(root), **named))  # type: ignore[arg-type]
    assert not (root / "none" / "ledger.db").exists(), "nothing was begun"


def test_prefects_own_command_registers_every_block() -> None:
    command = [str(Path(sys.executable).parent / "prefect"), "block", "register", "-m", "blocks"]
    patient = {**os.environ, "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=patient)
    assert done.returncode == 0, done.stderr
    for block in BLOCKS:
        assert issubclass(block, Block)
        assert str(block.get_block_type_slug()).replace("-", " ").split()[1] in done.stdout.lower().replace("-", " ")
