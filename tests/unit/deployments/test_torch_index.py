"""Where the Makefile takes torch from: the CPU build of TORCH_INDEX, or with a warning and without a wait, pip's own indexes.

The indexes are folders of wheels that hold a name and a version.
"""

from __future__ import annotations

import os
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
(VERSION,) = (
    line.removeprefix("torch==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.startswith("torch==")
)
WARNING = "No CPU build of torch at TORCH_INDEX="


def index(place: Path, version: str) -> str:
    """The URL of an index that has this version of torch alone."""
    folder = place / "torch"
    folder.mkdir(parents=True)
    wheel, info = f"torch-{version}-py3-none-any.whl", f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / wheel, "w") as file:
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    return place.as_uri()


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch") / "venv"


def torch_after(venv: Path, torch_index: str, own_index: str) -> tuple[str, str]:
    """(the version of torch that a new environment has then, or "", what make printed); pip's own index as given."""
    (venv / ".torch").unlink(missing_ok=True)
    others = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment = {**others, "PIP_CONFIG_FILE": os.devnull, "PIP_EXTRA_INDEX_URL": own_index, "PIP_NO_CACHE_DIR": "1"}
    made = subprocess.run(
        ["make", f"{venv}/.torch", f"VENV={venv}", f"TORCH_INDEX={torch_index}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    pip = [str(venv / "bin" / "pip"), "--disable-pip-version-check"]
    shown = subprocess.run([*pip, "show", "torch"], env=environment, capture_output=True, text=True).stdout
    subprocess.run([*pip, "uninstall", "-q", "-y", "torch"], env=environment, capture_output=True, check=True)
    found = [line.removeprefix("Version: ") for line in shown.splitlines() if line.startswith("Version: ")]
    return "".join(found), made.stdout + made.stderr


def test_the_cpu_build_of_the_index_comes_before_the_build_of_pips_own(venv: Path, tmp_path: Path) -> None:
    found, said = torch_after(venv, index(tmp_path / "cpu", f"{VERSION}+cpu"), index(tmp_path / "own", VERSION))
    assert found == f"{VERSION}+cpu" and WARNING not in said


def test_an_index_that_cannot_be_reached_is_told_and_a_cpu_build_elsewhere_is_taken(venv: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    found, said = torch_after(venv, "http://127.0.0.1:9/", index(tmp_path / "own", f"{VERSION}+cpu"))
    assert found == f"{VERSION}+cpu" and WARNING not in said, said
    found, said = torch_after(venv, "http://127.0.0.1:9/", (tmp_path / "none").as_uri())
    assert found == "" and f"{WARNING}http://127.0.0.1:9/" in said
    assert time.monotonic() - began < 120


def test_a_build_that_may_need_cuda_is_told_of(venv: Path, tmp_path: Path) -> None:
    found, said = torch_after(venv, "http://127.0.0.1:9/", index(tmp_path / "own", VERSION))
    assert found == VERSION and WARNING in said


def test_an_empty_index_leaves_torch_to_pips_own(venv: Path, tmp_path: Path) -> None:
    found, said = torch_after(venv, "", index(tmp_path / "own", f"{VERSION}+cpu"))
    assert found == "" and WARNING not in said
