"""The demo beside two processes that compute without end: its wall time and CPU time, and those of the demo alone.

The demo alone runs with the limited spinning and with OpenMP's own waiting in turn, twice each, and the faster run of
each counts. Where stress-ng is not installed, Python loops are the load. About 20 minutes.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess  # nosec B404 # the demo and its load, fixed arguments
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.measuring import Figure, report
from cogumi.cli.output import note
from cogumi.openmp import spin_limits

_SMALL = ["run", "all", "--recipe", "tiny"]
_LOAD = 2  # processes
_LONGER, _MORE_CPU, _SLOWER_ALONE = 2.5, 1.4, 1.05
_LIBRARY = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}  # what the libraries do where nothing is set
_OPENMP = ("OMP_", "GOMP_", "KMP_", "COGUMI_OPENMP")
_LOOP = "while True: pass"
_START_S = 2
_ROUNDS = 2
_LAST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a command: wall time, and CPU time of its processes, those that it started and waited for included."""

    wall: float
    cpu: float


def main(*, quick: bool, save: bool, table: bool) -> None:
    """Measure and print."""
    arguments = _SMALL if quick else ["demo"]
    _spent(_SMALL, {})  # bytecode is written, and libraries are read, before anything is timed
    turns = [(_spent(arguments, {}), _spent(arguments, _LIBRARY)) for _ in range(_ROUNDS)]
    alone, library = (min(runs, key=lambda run: run.wall) for runs in zip(*turns, strict=True))
    with _load() as load:
        beside = _spent(arguments, {})
    figures = [
        Figure("alone", alone.wall, "s"),
        Figure("alone: CPU", alone.cpu, "s"),
        Figure("alone, the library's own waiting", library.wall, "s"),
        Figure("alone, the library's own waiting: CPU", library.cpu, "s"),
        Figure(f"beside {load}", beside.wall, "s"),
        Figure(f"beside {load}: CPU", beside.cpu, "s"),
        Figure("wall, beside / alone", beside.wall / alone.wall, "ratio", high=_LONGER),
        Figure("CPU, beside / alone", beside.cpu / alone.cpu, "ratio", high=_MORE_CPU),
        Figure("wall alone, this / the library's own waiting", alone.wall / library.wall, "ratio", high=_SLOWER_ALONE),
    ]
    openmp = {name: spin_limits(busy=busy) for name, busy in (("alone", False), ("beside", True))}
    settings = {"command": " ".join(["cogumi", *arguments]), "load": load, "openmp": openmp}
    report("neighbour", figures, settings, save=save, table=table)


def _spent(arguments: list[str], openmp: dict[str, str]) -> Spent:
    """What a cogumi command takes in an empty folder. Raises RuntimeError with the last words of one that failed."""
    command = [sys.executable, "-m", "cogumi.cli.main", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        before, began = _cpu_of_children(), time.perf_counter()
        environment = {**_without_openmp(), **openmp}
        done = subprocess.run(  # nosec B603
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-_LAST_WORDS:])
        spent = Spent(time.perf_counter() - began, _cpu_of_children() - before)
    note(f"cogumi {' '.join(arguments)}: {spent.wall:.1f} s, CPU {spent.cpu:.1f} s")
    return spent


def _without_openmp() -> dict[str, str]:
    """The environment without what it says of OpenMP: `import cogumi` has set some of it, in this process too."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OPENMP)}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _load() -> Iterator[str]:
    """Processes that compute without end; yields what they are."""
    stress = shutil.which("stress-ng")
    name = f"stress-ng --cpu {_LOAD}" if stress else f"{_LOAD} Python loops"
    commands = [[stress, "--cpu", str(_LOAD), "--quiet"]] if stress else [[sys.executable, "-c", _LOOP]] * _LOAD
    started = [subprocess.Popen(command) for command in commands]  # nosec B603
    try:
        time.sleep(_START_S)
        yield name
        ended = [process.args for process in started if process.poll() is not None]
        if ended:
            raise RuntimeError(f"the load ended before the command did: {ended}")
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
        for process in started:
            process.wait()
