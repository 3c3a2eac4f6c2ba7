"""What is not in the core installation: one map from module to extra, and a dataset stage that works without any of it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import orjson
import pytest

from cogumi.extras import EXTRA_OF, missing, need

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PACKAGES = ("cogumi", "flows", "tasks", "blocks", "deployments", "benchmarks")
WITHOUT = f"""
import sys
from importlib.machinery import PathFinder


class Core(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {sorted(EXTRA_OF)!r} else super().find_spec(name, path, target)


sys.meta_path[:] = [Core if finder is PathFinder else finder for finder in sys.meta_path]
"""


def distributions(requirements: list[str]) -> set[str]:
    """Names of distributions, as in pyproject's lists."""
    return {normal(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def core(tmp_path: Path) -> dict[str, str]:
    """The environment of processes, and of their children, in which no extra is installed."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join(filter(None, (str(tmp_path / "site"), str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}


def cogumi(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cogumi.cli.main", *arguments]
    cwd = Path(environment["PYTHONPATH"].split(os.pathsep)[0]).parent
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_the_dataset_stage_runs_from_the_core_alone(core: dict[str, str], tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([n for n in {sorted(EXTRA_OF)!r} if u.find_spec(n) is not None])"
    seen = subprocess.run([sys.executable, "-c", code], env=core, capture_output=True, text=True, timeout=60)
    assert seen.stdout.strip() == "[]", seen
    done = cogumi(core, "run", "dataset", "--recipe", "tiny", "--no-prefect", "--json")
    assert done.returncode == 0, done.stderr
    figures = orjson.loads(done.stdout)["stages"]["generate_dataset"]
    assert figures["rows"] == 80 and figures["tokens"]
    run = tmp_path / "runs" / "tiny"
    assert list((run / "dataset").glob("training_*_complete.parquet")) and (run / "report.html").is_file()
    assert cogumi(core, "doctor").returncode in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "variables", "extra"),
    [
        (["versions", "ls", "weekly", "--versions", "s3://bucket/datasets"], {}, "s3"),
        (
            ["run", "dataset", "--recipe", "tiny", "--no-prefect"],
            {"COGUMI_LEDGER_URL": "postgresql://127.0.0.1:1/none"},
            "postgres",
        ),
        (["run", "dataset", "--recipe", "spec-60k", "--rehearse", "--no-prefect"], {}, "batch"),
        (["run", "base", "--recipe", "tiny", "--no-prefect"], {}, "train"),
        (["adapt", "examples.jsonl", "--run", "tiny"], {}, "train"),
        (["up", "--redis-url", "redis://127.0.0.1:1/0"], {}, "redis"),
        (
            ["run", "dataset", "--no-prefect", "--set", "dataset.augment=[{source: reasoning_gym_math, rows: 3}]"],
            {},
            "gym",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_needs_an_extra_names_it(
    core: dict[str, str], arguments: list[str], variables: dict[str, str], extra: str
) -> None:
    done = cogumi({**core, **variables}, *arguments)
    assert done.returncode == 2, done
    assert "extra-missing" in done.stderr and f"pip install 'cogumi[{extra}]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_several_missing_modules_name_each_extra_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("botocore", "s3fs", "psycopg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert missing("botocore", "s3fs", "psycopg").endswith("not installed: pip install 'cogumi[s3,postgres]'")
    assert missing() == "" and need("nothing") is None


def test_every_import_comes_with_the_core_or_is_in_the_map() -> None:
    provided = packages_distributions()
    core = distributions(PROJECT["dependencies"])
    unknown: dict[str, str] = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for name in imported(ast.parse(path.read_text())):
                known = name in sys.stdlib_module_names or name in PACKAGES or name in EXTRA_OF
                if not known and not {normal(each) for each in provided.get(name, [])} & core:
                    unknown[name] = str(path.relative_to(ROOT))
    assert unknown == {}


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of every import, wherever it stands."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
    return names


@pytest.mark.parametrize("module", EXTRA_OF)
def test_an_extra_of_the_map_installs_the_module(module: str) -> None:
    listed = distributions(EXTRAS[EXTRA_OF[module]])
    provided = {normal(name) for name in packages_distributions().get(module, [])}
    assert provided & listed or (not provided and normal(module) in listed), (module, provided, listed)
    assert not provided & distributions(PROJECT["dependencies"])


def test_every_extra_that_a_text_names_is_there() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    paths = [ROOT / name for name in files if not name.startswith("tests/")]
    texts = {path: path.read_text("utf-8", errors="ignore") for path in paths if path.is_file()}
    named = {
        (extra, path.name)
        for path, text in texts.items()
        for group in re.findall(r"(?:cogumi|\.)\[([a-z0-9, ]+)\]'", text)
        for extra in group.replace(" ", "").split(",")
    }
    assert named and {(extra, name) for extra, name in named if extra not in EXTRAS} == set()
