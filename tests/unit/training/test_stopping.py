"""Who waits for a loop gives up the OpenMP threads that would slow it down."""

from __future__ import annotations

import subprocess
import sys

_HANG_S = 60
_CHILD = """
import os, sys, time, torch
from cogumi.training import stopping

def threads():
    return len(os.listdir("/proc/self/task"))

def fallen_to(count):                  # a thread's end is seen a moment after it was waited for
    until = time.monotonic() + {hang}
    while threads() != count and time.monotonic() < until:
        time.sleep(0.01)
    return threads()

if "keep" in sys.argv:
    stopping.give_up_team = lambda: None
torch.set_num_threads(2)
some = torch.ones(1 << 20)
some + some                            # the main thread has a team of two now
with_team = threads()
def work(stop):
    before = threads()
    some + some
    return before, threads()
before, during = stopping.interruptible(work)
after = threads() if "keep" in sys.argv else fallen_to(with_team - 1)
some + some
print(before - with_team, during - before, after - with_team, threads() - with_team)
"""


def counted(*how: str) -> list[int]:
    code = _CHILD.replace("{hang}", str(_HANG_S))
    done = subprocess.run([sys.executable, "-c", code, *how], capture_output=True, text=True, check=True)
    return list(map(int, done.stdout.split()))


def test_the_waiting_threads_team_ends_and_comes_again_when_it_is_needed() -> None:
    before, during, after, again = counted()
    assert before == 0, "the loop's thread came, one of the team went"
    assert during == 1, "the loop's own team"
    assert (after, again) == (-1, 0), "both are gone, and the next operation makes a team"


def test_a_team_that_is_kept_is_one_thread_too_many() -> None:
    """The known bad."""
    before, during, *_ = counted("keep")
    assert (before, during) == (1, 1)
