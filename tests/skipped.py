"""Skipped tests: `miss` skips one for what is missing, the end of a run lists them by reason, a file keeps their ids.

    miss("bubblewrap")                         # skipped: bubblewrap is missing: apt-get install bubblewrap
    COGUMI_SKIPPED_FILE=.skipped-tests pytest  # adds a line for each skipped test: its id, a tab, the reason
    COGUMI_REQUIRE=1 pytest                    # fails instead; CI sets it

The list at the end is that of the file where there is one, so that it holds the runs before that wrote to the same file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

REMEDIES = {
    "an x86 processor": "run the tests on one; elsewhere OpenMP's waiting needs no limit",
    "a Linux system": "run the tests on one; elsewhere nobody tells whether a machine is busy",
    "bubblewrap": "apt-get install bubblewrap",
    "Chromium": "apt-get install chromium",
    "chromedriver": "apt-get install chromium-driver",
    "COGUMI_DATA": "set it to a folder of the public datasets that CONTRIBUTING.md names",
    "Docker": "apt-get install --no-install-recommends docker.io, and run the tests as root",
    "extra track": "pip install -e '.[track]'",
    "lm-evaluation-harness": "make harness",
    "PostgreSQL": "apt-get install postgresql, with a role that may create databases; COGUMI_TEST_POSTGRES names another server",
    "reasoning-gym": "apt-get install gcc python3-dev, then make install-gym",
    "redis-server": "apt-get install redis-server",
    "root with CAP_SYS_ADMIN": "run the tests as root, in a container that is --privileged",
    "strace": "apt-get install strace",
    "systemd-analyze": "apt-get install systemd",
    "torch with GNU's OpenMP": "pip install torch, whose wheels for Linux bring it",
    "unshare": "apt-get install util-linux",
}
OPTIONAL = {"COGUMI_DATA"}
"""What COGUMI_REQUIRE does not ask for: some of these datasets may not be passed on."""


def reason(what: str) -> str:
    """Why a test is skipped, and how to get what it needs."""
    return f"{what} is missing: {REMEDIES[what]}"


def miss(what: str) -> NoReturn:
    """Skip for a missing tool, service or dataset, one of REMEDIES; fail where COGUMI_REQUIRE asks for everything."""
    if os.environ.get("COGUMI_REQUIRE") and what not in OPTIONAL:
        pytest.fail(f"required: {reason(what)}")
    pytest.skip(reason(what))


def summary(reasons: Iterable[str]) -> list[str]:
    """A line for each reason, the commonest first."""
    counts = sorted(Counter(reasons).items(), key=lambda item: (-item[1], item[0]))
    return [f"{n} {'test' if n == 1 else 'tests'} skipped: {why}" for why, n in counts]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # a process of pytest-xdist; the one that started it has all reports
        return
    rows = [(report.nodeid, _why(report)) for report in terminalreporter.stats.get("skipped", [])]
    name = os.environ.get("COGUMI_SKIPPED_FILE")
    if name:
        file = Path(name)
        with file.open("a") as out:
            out.writelines(f"{nodeid}\t{why}\n" for nodeid, why in rows)
        rows = [tuple(line.split("\t", 1)) for line in file.read_text().splitlines()]
    for line in summary(why for _, why in rows):
        terminalreporter.write_line(line, yellow=True)


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    assert isinstance(report.longrepr, tuple), report.longrepr
    return " ".join(report.longrepr[2].removeprefix("Skipped: ").split())
