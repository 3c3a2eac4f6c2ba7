"""The sandbox against programs that try to get out, and the verifiers that rely on it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from random import Random

import pytest

from cogumi.dataset.verify import verify_answer
from cogumi.domain import Difficulty
from cogumi.sandbox import bubblewrap, run_python, sandbox_problem
from cogumi.teachers.procedural import by_domain
from tests.conftest import miss

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def _needs_bubblewrap() -> None:
    if shutil.which("bwrap") is None:
        miss("bubblewrap")
    assert sandbox_problem() == ""


ESCAPES = {
    "password file": "print(open('/etc/passwd').read())",
    "shadow file": "print(open('/etc/shadow').read())",
    "project file": f"print(open({__file__!r}).read())",
    "home": "import pathlib; print(list(pathlib.Path.home().iterdir())); open(str(pathlib.Path.home() / '.bashrc')).read()",
    "environment": "import os; print(os.environ['COGUMI_CANARY'])",
    "proc self environ": "print(open('/proc/self/environ').read())",
    "proc 1": "print(open('/proc/1/cmdline').read())",
    "devices": "open('/dev/sda').read()",
    "write to usr": "open('/usr/bin/evil', 'w').write('x')",
    "write to root": "open('/evil', 'w').write('x' * (1 << 21))",
    "socket tcp": "import socket; socket.create_connection(('127.0.0.1', 5432), 1)",
    "socket unix": "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/var/run/postgresql/.s.PGSQL.5432')",
    "dns": "import socket; print(socket.getaddrinfo('example.com', 80))",
    "http": "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8712').read())",
    "fork": "import os; pid = os.fork(); print('forked')",
    "fork bomb": "import os\nwhile True: os.fork()",
    "threads": "import threading; t = threading.Thread(target=print, args=('thread',)); t.start()",
    "subprocess": "import subprocess; print(subprocess.run(['/usr/bin/id'], capture_output=True).stdout)",
    "os.system": "import os, sys; sys.exit(1 if os.system('id') else 0)",
    "exec a shell": "import os; os.execv('/usr/bin/perl', ['perl', '-e', 'use Socket; socket(S, PF_INET, SOCK_STREAM, 0) or die; print 1'])",
    "ctypes fork": "import ctypes; r = ctypes.CDLL(None).fork(); assert r == -1; raise SystemExit(1)",
    "ctypes socket": "import ctypes; r = ctypes.CDLL(None).socket(2, 1, 0); assert r == -1; raise SystemExit(1)",
    "ctypes ptrace": "import ctypes; r = ctypes.CDLL(None).ptrace(16, 1, 0, 0); assert r == -1; raise SystemExit(1)",
    "ctypes mount": "import ctypes; r = ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, 0); assert r == -1; raise SystemExit(1)",
    "ctypes unshare": "import ctypes; r = ctypes.CDLL(None).unshare(0x10000000); assert r == -1; raise SystemExit(1)",
    "memory": "x = bytearray(2 << 30)",
    "many small memory": "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "big file": "open('/tmp/x', 'wb').write(b'0' * (8 << 20))",
    "fill tmp": "import itertools\nfor n in itertools.count(): open(f'/tmp/{n}', 'wb').write(b'0' * (1 << 19))",
    "endless loop": "while True: pass",
    "endless output": "while True: print('x' * 4096)",
    "sleep": "import time; time.sleep(60)",
    "installed packages": "import aiohttp",
    "kill the parent": "import os, signal; os.kill(1, signal.SIGKILL); os.kill(os.getppid(), signal.SIGKILL); raise SystemExit(1)",
    "setuid": "import os; os.setuid(0)",
    "recursion": "f = lambda: f()\nf()",
    "deep json": "import json; json.loads('[' * 10**6)",
}


@pytest.mark.parametrize("attempt", ESCAPES)
@pytest.mark.alone
async def test_an_escape_is_contained(attempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGUMI_CANARY", CANARY)
    began = time.monotonic()
    result = await run_python(ESCAPES[attempt], timeout_s=2.0)
    assert not result.ok, result
    assert CANARY not in result.output + result.error
    assert "root:" not in result.output
    assert len(result.output) <= bubblewrap.MOST_OUTPUT_BYTES
    assert time.monotonic() - began < 4
    assert not Path("/usr/bin/evil").exists() and not Path("/evil").exists()


async def test_a_decent_program_runs() -> None:
    result = await run_python("import collections, math\nprint(math.comb(10, 3), collections.Counter('aab')['a'])")
    assert (result.ok, result.output) == (True, "120 2\n")


@pytest.mark.parametrize("difficulty", list(Difficulty))
@pytest.mark.parametrize("name", ["write-function", "fix-bug"])
async def test_programs_are_judged_by_what_they_do(name: str, difficulty: Difficulty) -> None:
    (family,) = [family for family in by_domain("coding") if family.name == name]
    for seed in range(6):
        rng = Random(seed)
        task = family.generate(rng, difficulty)
        gold = task.solution.answer
        assert await verify_answer(task.question, gold) == "passed"
        assert await verify_answer(task.question, f"Here you are:\n{gold}\nIt is simple.") == "passed"
        assert await verify_answer(task.question, task.wrong_answer(rng)) == "failed"
        assert await verify_answer(task.question, "I do not know.") == "failed"


async def test_a_program_written_another_way_passes_and_one_that_prints_the_verdict_does_not() -> None:
    from cogumi.teachers.procedural.reference_functions import REFERENCES

    (family,) = [family for family in by_domain("coding") if family.name == "write-function"]
    task = next(
        t for t in (family.generate(Random(s), Difficulty.EASY) for s in range(200)) if t.params["name"] == "clamp_all"
    )
    other = "```python\ndef clamp_all(values, other):\n    out = []\n    for v in values:\n        out.append(v if v > other else other)\n    return out\n```"
    assert await verify_answer(task.question, other) == "passed"
    cheat = "```python\nimport sys\nprint('passed'); print('[[0]]')\nsys.exit(0)\n```"
    assert await verify_answer(task.question, cheat) == "failed"
    assert REFERENCES["clamp_all"].cases(0)


async def test_a_buggy_function_given_back_unchanged_fails() -> None:
    (family,) = [family for family in by_domain("coding") if family.name == "fix-bug"]
    for seed in range(20):
        task = family.generate(Random(seed), Difficulty.HARD if seed % 2 else Difficulty.EASY)
        assert await verify_answer(task.question, f"```python\n{task.params['code']}\n```") == "failed", task.params[
            "code"
        ]


async def test_without_a_sandbox_programs_are_unverified_and_never_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bubblewrap.sandbox_problem.cache_clear()
    try:
        (family,) = [family for family in by_domain("coding") if family.name == "write-function"]
        task = family.generate(Random(1), Difficulty.EASY)
        trap = f"```python\nopen({str(tmp_path / 'ran')!r}, 'w')\n```"
        assert await verify_answer(task.question, trap) == "unverified"
        assert not (tmp_path / "ran").exists()
    finally:
        bubblewrap.sandbox_problem.cache_clear()
        assert "COGUMI_SANDBOX_CANARY" not in os.environ
