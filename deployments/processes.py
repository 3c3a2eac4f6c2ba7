"""Processes: server and workers that go on after the command that started them, known by pid and time of birth.

A pid alone may belong to somebody else after a restart of the machine, so nothing is signalled unless both agree.
"""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404 # our own commands, fixed arguments
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from cogumi.store.files import write_json

_FILE = "processes.json"
_LOOK_S = 0.1
_KILLED_S = 5.0  # for the system to take away what was killed


@dataclass(frozen=True, slots=True)
class Managed:
    """One process that was started here."""

    name: str
    pid: int
    born: str
    log: str

    @property
    def alive(self) -> bool:
        return birth_of(self.pid) == self.born


class Processes:
    """The processes of a home folder, by name."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def all(self) -> list[Managed]:
        """Those that were started and not stopped, dead ones included."""
        file = self._home / _FILE
        return [Managed(**row) for row in orjson.loads(file.read_bytes())] if file.is_file() else []

    def find(self, name: str) -> Managed | None:
        """The living process of this name, or None."""
        return next((managed for managed in self.all() if managed.name == name and managed.alive), None)

    def start(self, name: str, command: list[str], environment: dict[str, str], folder: Path) -> Managed:
        """Start a process in a session of its own, its output appended to a log; the living one of that name stays."""
        running = self.find(name)
        if running is not None:
            return running
        log = self._home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(  # nosec B603 # fixed command
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        managed = Managed(name, child.pid, birth_of(child.pid), str(log))
        self._write([*(other for other in self.all() if other.name != name), managed])
        return managed

    def stop(self, names: Collection[str], grace_s: float) -> list[str]:
        """Ask processes to end, and kill those with their children that do not within the grace; returns their names.
        One that is not there counts as ended.
        """
        asked = [managed for managed in self.all() if managed.name in names and managed.alive]
        for managed in asked:
            os.kill(managed.pid, signal.SIGTERM)
        until = time.monotonic() + grace_s
        killed = [managed for managed in asked if not _gone(managed, until)]
        for managed in killed:
            _kill_family(managed)
        self._write([other for other in self.all() if other.name not in names])
        return [managed.name for managed in killed]

    def _write(self, rows: list[Managed]) -> None:
        write_json(self._home / _FILE, [asdict(managed) for managed in sorted(rows, key=lambda row: row.name)])


def birth_of(pid: int) -> str:
    """When a process was born, as its system tells it; empty where there is none, or only what is left of one."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self").exists() else _birth_by_ps(pid)
    return "" if told[0] == "Z" else told[19]


def family_of(pid: int) -> list[int]:
    """A process and all that it started, itself first; the process alone where the system does not tell."""
    children = _children()
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def children_of(pid: int) -> list[int]:
    """The living processes that a process started itself; none where the system does not tell."""
    return _children().get(pid, [])


def _children() -> dict[int, list[int]]:
    """Every living process by its parent."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if told[0] != "Z":
            children.setdefault(int(told[1]), []).append(int(entry.name))
    return children


def _birth_by_ps(pid: int) -> str:
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)  # nosec B603 B607
    return done.stdout.strip()


def _gone(managed: Managed, until: float) -> bool:
    while managed.alive:
        if time.monotonic() > until:
            return False
        _reap(managed.pid)
        time.sleep(_LOOK_S)
    return True


def _kill_family(managed: Managed) -> None:
    """Kill a process and all that it started."""
    for pid in family_of(managed.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _gone(managed, time.monotonic() + _KILLED_S)


def _reap(pid: int) -> None:
    """Collect a child of this process; one of another process is that one's to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
