"""The sandbox against programs that try to get out, and the verifiers that rely on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from cogumi.dataset.verify import verify_answer
from cogumi.domain import Difficulty
from cogumi.errors import CogumiError
from cogumi.sandbox import MOST_OUTPUT_BYTES, bubblewrap, open_sandbox, run_python, sandbox_problem
from cogumi.sandbox.docker import Docker
from cogumi.sandbox.running import proves_itself
from cogumi.sandbox.unconfined import Unconfined
from cogumi.teachers.procedural import by_domain
from tests.skipped import miss
from tests.unit.sandbox import docker_daemon

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def _needs_bubblewrap() -> None:
    if shutil.which("bwrap") is None:
        miss("bubblewrap")
    assert sandbox_problem() == ""


FORGE = """
import os, re
seen = []
{search}
for nonce in {{word for thing in seen for word in re.findall("[0-9a-f]{{32}}", repr(thing))}}:
    os.write(1, b"\\n" + nonce.encode() + b"\\n")
os._exit(0)
"""
"""Say that the end was reached, with every nonce that is found."""

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
    "leave early": "import os; os._exit(0)",
    "leave politely": "import sys; sys.exit(0)",
    "leave by a thread's trick": "import os, atexit; atexit.register(os._exit, 0); raise SystemExit(0)",
    "end itself": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "claim to have passed": "print('passed'); print('contained 42'); import os; os._exit(0)",
    "guess the end": "import os\nos.write(1, b'\\n' + b'0' * 32 + b'\\n')\nos._exit(0)",
    "forge the end with what frames hold": FORGE.format(
        search="import sys\nf = sys._getframe()\nwhile f:\n seen += [*f.f_locals.values(), *f.f_globals.values(), *f.f_code.co_consts]\n f = f.f_back"
    ),
    "forge the end with what memory holds": FORGE.format(
        search="import gc\nfor thing in gc.get_objects(): seen.append(thing)"
    ),
    "orphan": "import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  import time; time.sleep(60)",
    "core dump": "import os; os.abort()",
    "many files": "x = [open(f'/tmp/{n}', 'w') for n in range(100)]",
    "raise the limits": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))",
    "endless errors": "import sys\nwhile True: sys.stderr.write('x' * 4096)",
    "keyring": "import ctypes; r = ctypes.CDLL(None).syscall(250, 0, -3, 1); assert r == -1; raise SystemExit(1)",
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
    assert len(result.output) <= MOST_OUTPUT_BYTES
    assert time.monotonic() - began < 4
    assert not Path("/usr/bin/evil").exists() and not Path("/evil").exists()


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """On a daemon of its own."""
    if docker_daemon.missing():
        miss("Docker")
    with (
        docker_daemon.docker_daemon(tmp_path_factory.mktemp("docker")) as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        opened = open_sandbox("docker")
        assert isinstance(opened, Docker)
        yield opened


_NO_ESCAPES_THERE = {"proc self environ", "proc 1", "end itself"}
"""A container has a /proc of its own, with its own processes and variables; and its first process is deaf to SIGTERM."""


@pytest.mark.alone
def test_docker_contains_them_too(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGUMI_CANARY", CANARY)
    with ThreadPoolExecutor(6) as pool:
        results = dict(zip(ESCAPES, pool.map(lambda attempt: docker.run(attempt, 2.0), ESCAPES.values()), strict=True))
    assert {name for name, result in results.items() if result.ok} <= _NO_ESCAPES_THERE
    for result in results.values():
        assert CANARY not in result.output + result.error and "/bin/bash" not in result.output
        assert len(result.output) <= MOST_OUTPUT_BYTES
    left = subprocess.run(["docker", "ps", "--all", "--quiet"], capture_output=True, text=True, check=True).stdout
    assert left == "", "no container outlives its program"
    assert docker.run("import math\nprint(math.comb(10, 3))", 5.0).output == "120\n"


def test_docker_without_its_image_is_refused_with_the_reason(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGUMI_SANDBOX_IMAGE", "not-there:1")
    with pytest.raises(CogumiError, match="sandbox-missing") as refused:
        open_sandbox("docker")
    assert "not-there:1" in str(refused.value)


def test_no_sandbox_must_be_said_twice_and_is_never_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, trusted, code in (("none", False, "code-not-trusted"), ("chroot", True, "sandbox-unknown")):
        with pytest.raises(CogumiError, match=code):
            open_sandbox(name, trusted)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(CogumiError, match="sandbox-missing") as refused:
        open_sandbox("none", trusted=True)
    assert "root" in str(refused.value)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert open_sandbox("none", trusted=True).run("print(6 * 7)", 5.0).output == "42\n"


async def test_a_search_that_finds_the_nonce_would_be_taken_for_the_end() -> None:
    """So that the searches of frames and memory prove something. It finds it where the documentation says that it is:
    in the pipe, which a program that tries every descriptor can read.
    """
    search = "for handle in range(3, 32):\n try: seen.append(os.read(handle, 32).decode())\n except OSError: pass"
    result = await run_python(FORGE.format(search=search))
    assert result.ok


def test_many_threads_prove_it_at_once() -> None:
    bubblewrap._problem.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: sandbox_problem(), range(16))) == {""}
    assert "COGUMI_SANDBOX_CANARY" not in os.environ


def test_a_sandbox_that_holds_nothing_does_not_prove_itself() -> None:
    leaks = proves_itself(Unconfined(), __file__)
    assert leaks.startswith("leaks:") and "read" in leaks and "network" in leaks


async def test_input_is_empty_and_output_is_kept_as_it_was() -> None:
    result = await run_python("import sys\nprint(repr(sys.stdin.read()))\nsys.stdout.write('no end of line')")
    assert (result.ok, result.output) == (True, "''\nno end of line")


async def test_a_large_program_goes_through() -> None:
    result = await run_python(f"x = {'1' * (1 << 20)!r}\nprint(len(x))")
    assert (result.ok, result.output) == (True, f"{1 << 20}\n")


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
    bubblewrap._problem.cache_clear()
    try:
        (family,) = [family for family in by_domain("coding") if family.name == "write-function"]
        task = family.generate(Random(1), Difficulty.EASY)
        trap = f"```python\nopen({str(tmp_path / 'ran')!r}, 'w')\n```"
        assert await verify_answer(task.question, trap) == "unverified"
        assert not (tmp_path / "ran").exists()
    finally:
        bubblewrap._problem.cache_clear()
        assert "COGUMI_SANDBOX_CANARY" not in os.environ
