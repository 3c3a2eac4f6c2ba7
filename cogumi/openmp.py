"""How long OpenMP's threads wait awake: set for this process, and those it starts, when the package is imported.

torch computes in many short parallel regions. At the end of one a thread waits for the others of its team, and then for
the next one: awake (it spins) for a time, then asleep. Spinning saves the wake-up, some 50 microseconds, and pays while
every thread of the team runs. Where another process has the processor of one, the others spin until the scheduler gives
it back, some milliseconds later. GNU's OpenMP spins for up to 300,000 rounds of about 25 ns, Intel's and LLVM's for
200 ms: then most processor time of a training can go into waiting. The limit here, about 25 microseconds, is what half
a wake-up costs: `cogumi bench neighbour`, docs/log.md of 30 November 2026.

An OpenMP library reads its settings once, when it is loaded, which is when torch is. So this is done by `import
cogumi`, which comes before any module of the package imports torch. A notebook that imports torch first keeps the
library's own. What the user has set is left as it is. No result depends on it.
"""

from __future__ import annotations

import platform
from collections.abc import MutableMapping

_X86 = ("x86_64", "AMD64", "i686")
_ROUNDS = {"GOMP_SPINCOUNT": "1000"}  # GNU's OpenMP, which torch's wheels for Linux bring
_MS = {"KMP_BLOCKTIME": "1"}  # the shortest but 0; Intel's (conda's builds with MKL) and LLVM's (macOS)
_POLICY = "OMP_WAIT_POLICY"  # active or passive: the settings above would outrank it


def spin_limits(machine: str = "") -> dict[str, str]:
    """The settings for a machine by its name in `uname -m`, this one's by default.

    GNU's rounds hold a PAUSE on x86 only; elsewhere one takes about a nanosecond, and 300,000 less than a time slice.
    """
    return _ROUNDS | _MS if (machine or platform.machine()) in _X86 else dict(_MS)


def limit_spinning(environment: MutableMapping[str, str]) -> None:
    """Set what the user has not; nothing at all where a wait policy is set."""
    if _POLICY not in environment:
        for name, value in spin_limits().items():
            environment.setdefault(name, value)
