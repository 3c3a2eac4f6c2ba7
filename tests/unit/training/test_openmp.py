"""OpenMP's threads wait awake for a short time only, wherever torch is loaded by this package, unless the user says otherwise."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cogumi.openmp import is_busy, limit_spinning, spin_limits
from tests.skipped import miss

ROOT = Path(__file__).parents[3]
PACKAGES = ("flows", "tasks", "blocks", "deployments")
SETTINGS = spin_limits()
_NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "COGUMI_OPENMP")
_TORCH = {"torch", "transformers", "peft", "safetensors", "datasets"}

# CPU time while the process sleeps: the other thread of the team of two, after each of 20 operations.
_CHILD = """
import cogumi, sys, time, torch
torch.set_num_threads(2)
some = torch.ones(1 << 20)
spent = 0.0
for _ in range(20):
    some + some
    before = time.process_time()
    time.sleep(0.02)
    spent += time.process_time() - before
libraries = [line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line]
print(1000 * spent / 20, bool(libraries))
"""
# The settings that a module's first import of torch finds.
_FIRST_IMPORT = """
import builtins, importlib, os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(*(os.environ.get(name) for name in {names}))
            raise SystemExit
sys.meta_path.insert(0, Finder())
importlib.import_module({module!r})
import torch
"""


def ms_awake(**environment: str) -> float:
    """Milliseconds of CPU time of threads that wait, after one parallel operation."""
    clean = {name: value for name, value in os.environ.items() if name not in _NAMES}
    command = [sys.executable, "-c", _CHILD]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    spent, gnu = done.stdout.split()
    if gnu != "True":
        miss("torch with GNU's OpenMP")
    if "GOMP_SPINCOUNT" not in SETTINGS:
        miss("an x86 processor")
    return float(spent)


def test_who_waits_sleeps_soon() -> None:
    """Beside the known bad, the library's own setting: up to 7 ms. A user who wants that has it."""
    ours = ms_awake()
    assert ours < 0.2 * ms_awake(GOMP_SPINCOUNT="300000")
    assert ours < 0.1 * ms_awake(OMP_WAIT_POLICY="active"), "up to 20 ms"


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize(
    "given",
    [{}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "infinite"}, {"OMP_WAIT_POLICY": "passive"}, {"OTHER": "1"}],
)
def test_what_the_user_has_set_is_left(given: dict[str, str], busy: bool) -> None:
    environment = dict(given)
    limit_spinning(environment, busy)
    expected = given if "OMP_WAIT_POLICY" in given else {**spin_limits(busy=busy), **given}
    assert {name: value for name, value in environment.items() if name != "COGUMI_OPENMP"} == expected


def test_what_one_process_has_set_the_next_decides_anew() -> None:
    """A worker that was started beside a load does not keep its flow runs from spinning for good."""
    environment: dict[str, str] = {}
    limit_spinning(environment, busy=True)
    limit_spinning(environment, busy=False)
    assert {name: environment[name] for name in SETTINGS} == SETTINGS
    environment[next(iter(SETTINGS))] = "7"  # by a user, in a script between the two
    limit_spinning(environment, busy=True)
    assert environment[next(iter(SETTINGS))] == "7"


@pytest.mark.parametrize(
    ("told", "busy"),
    [("0.1 0.2 0.3 3/137 99", True), ("0.1 0.2 0.3 9/137 99", True), ("9.9 9.9 9.9 2/137 99", False), ("", False)],
)
def test_a_machine_is_busy_where_others_have_every_processor(
    told: str, busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (tmp_path / "loadavg").write_text(told)
    assert is_busy(tmp_path / "loadavg") is busy
    assert is_busy(tmp_path / "none") is False


def test_beside_a_load_nobody_spins() -> None:
    if not Path("/proc/loadavg").exists():
        miss("a Linux system")
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(0.5)
        assert ms_awake() < 0.2 * ms_awake(GOMP_SPINCOUNT="300000")
        code = "import cogumi, os; print(os.environ['KMP_BLOCKTIME'])"
        clean = {name: value for name, value in os.environ.items() if name not in _NAMES}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, capture_output=True, check=True)
        assert done.stdout.strip() == b"0"
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.mark.parametrize(
    "module", ["cogumi.cli.main", "cogumi.training.worker", "deployments.worker", "flows.pipeline"]
)
def test_it_is_set_before_an_entry_point_loads_torch(module: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in _NAMES}
    code = _FIRST_IMPORT.format(names=tuple(SETTINGS), module=module)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.split() in [list(spin_limits(busy=busy).values()) for busy in (False, True)]


def test_no_module_around_the_library_loads_torch_before_it() -> None:
    """Prefect loads a flow's module by itself: its first import of this package is to come before torch."""
    late = []
    for path in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            tops = {name.partition(".")[0] for name in names}
            if "cogumi" in tops:
                break
            late += [path.name] if tops & _TORCH else []
    assert late == []
