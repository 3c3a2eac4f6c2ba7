"""How long OpenMP's threads wait awake: set for this process, and those it starts, when the package is imported.

torch computes in many short parallel regions. At the end of one a thread waits for the others of its team, and then for
the next one: awake (it spins) for a time, then asleep. Spinning saves the wake-up, some 50 microseconds, and pays while
every thread of the team runs. Where another process has the processor of one, the others spin until the scheduler gives
it back, some milliseconds later. GNU's OpenMP spins for up to 300,000 rounds of about 25 ns, Intel's and LLVM's for
200 ms: then most processor time of a training can go into waiting. The limit here, about 25 microseconds, is what half
a wake-up costs; where other processes have every processor already, threads do not spin at all (`cogumi bench
neighbour`, docs/log.md of 30 November 2026).

An OpenMP library reads its settings once, when it is loaded, which is when torch is. So this is done by `import
cogumi`, which comes before any module of the package imports torch. A notebook that imports torch first keeps the
library's own. What the user has set is left as it is; what a process has set here, one that it starts decides anew. No
result depends on it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import MutableMapping
from pathlib import Path

_X86 = ("x86_64", "AMD64", "i686")
_ROUNDS = "GOMP_SPINCOUNT"  # GNU's OpenMP, which torch's wheels for Linux bring
_MS = "KMP_BLOCKTIME"  # Intel's (conda's builds with MKL) and LLVM's (macOS)
_LIMITS = {_ROUNDS: "1000", _MS: "1"}
_NONE = {_ROUNDS: "0", _MS: "0"}
_POLICY = "OMP_WAIT_POLICY"  # active or passive: the settings above would outrank it
_OURS = "COGUMI_OPENMP"  # what was set here, so that it is not taken for the user's
_LOOKS, _BETWEEN_S = 5, 0.004  # longer than a time slice, so that a process that only passes by is not taken for a load


def spin_limits(machine: str = "", busy: bool = False) -> dict[str, str]:
    """The settings for a machine by its name in `uname -m`, this one's by default.

    GNU's rounds hold a PAUSE on x86 only; elsewhere one takes about a nanosecond, and 300,000 less than a time slice.
    """
    limits = _NONE if busy else _LIMITS
    return dict(limits) if (machine or platform.machine()) in _X86 else {_MS: limits[_MS]}


def limit_spinning(environment: MutableMapping[str, str], busy: bool | None = None) -> None:
    """Set what the user has not; nothing at all where a wait policy is set. `busy`: by a look at the machine."""
    if _POLICY in environment:
        return
    inherited = dict(pair.split("=") for pair in environment.pop(_OURS, "").split() if "=" in pair)
    for name, value in inherited.items():
        if environment.get(name) == value:
            del environment[name]
    free = [name for name in spin_limits() if name not in environment]
    limits = spin_limits(busy=is_busy() if busy is None else busy) if free else {}
    environment.update({name: limits[name] for name in free})
    if free:
        environment[_OURS] = " ".join(f"{name}={limits[name]}" for name in free)


def is_busy(loadavg: Path = Path("/proc/loadavg")) -> bool:
    """Whether other processes are running, or wait to run, on every processor; False where the system does not tell."""
    processors = os.cpu_count() or 1
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN_S)
        if _running(loadavg) - 1 < processors:
            return False  # the usual case, at the first look
    return True


def _running(loadavg: Path) -> int:
    """Threads that run or wait to run, this one among them; 0 where the system does not tell (proc_loadavg(5))."""
    try:
        return int(loadavg.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0
