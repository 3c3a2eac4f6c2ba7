"""`cogumi doctor`: is this machine ready, and is the recipe's world in order? Keys are looked for, never printed."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from uuid import uuid4

import typer

from cogumi.cli.output import JsonOption, print_json, print_table
from cogumi.cli.progress import progress
from cogumi.dataset.estimate import estimate, needs_of
from cogumi.errors import CogumiError, StorageError
from cogumi.extras import EXTRA_OF, missing
from cogumi.phases import report_phase
from cogumi.recipe import TeacherSection, load_recipe
from cogumi.sandbox import sandbox_problem
from cogumi.store.objects import ObjectStore, put_twice
from cogumi.teachers.pricing import price_of, price_table

Check = Callable[[], str]
_LEAST_DISK = 2 << 30


def doctor(
    recipe: str = typer.Option("", "--recipe", "-r", help="Also check this recipe's keys, endpoints and prices."),
    root: Path = typer.Option(Path("runs"), "--root", help="Folder that holds the runs."),
    store: str = typer.Option("", "--store", help="Also put the same key twice into this store, a folder or s3://..."),
    as_json: bool = JsonOption,
) -> None:
    """Run every check; exit code 1 if one fails."""
    from cogumi.teachers.preflight import preflight

    checks: list[tuple[str, Check]] = [
        ("python", _python),
        ("prefect server imports", _prefect_server),
        ("packages", _packages),
        ("extras", _extras),
        ("cores", lambda: f"{os.cpu_count()}"),
        ("memory", _memory),
        ("disk space", lambda: _disk(root)),
        ("disk writes survive", lambda: _fsync(root)),
        ("ledger database", _ledger),
        ("sandbox", _sandbox),
        ("clock", _clock),
        ("prefect api", _prefect_api),
        ("price table", lambda: f"as of {price_table()['as_of']}"),
    ]
    if store:
        checks.append((f"store {store}", lambda: _store(store)))
    if recipe:
        loaded = load_recipe(recipe)
        checks += [(f"price of {name}", _price_check(section)) for name, section in loaded.teachers.items()]
    with progress("doctor"):
        rows = [(name, *_try(name, check)) for name, check in checks]
        if recipe:
            report_phase("preflight of the teachers")
            needs = needs_of(estimate(loaded)) if all(ok for _, ok, _ in rows) else {}
            findings = asyncio.run(preflight(loaded, needs))
            rows += [(f"{f.teacher}: {f.code}", f.level != "error", f.text) for f in findings]
    if as_json:
        print_json([{"check": name, "ok": ok, "found": found} for name, ok, found in rows])
    else:
        print_table(
            "cogumi doctor",
            ["check", "", "found"],
            [[name, "ok" if ok else "FAILS", found] for name, ok, found in rows],
        )
    if not all(ok for _, ok, _ in rows):
        raise typer.Exit(1)


def _try(name: str, check: Check) -> tuple[bool, str]:
    report_phase(name)
    try:
        return True, check()
    except CogumiError as error:
        return False, f"[{error.code}] {error.detail} {error.entry.remedy}"
    except (ImportError, OSError, ValueError, TypeError, KeyError, metadata.PackageNotFoundError) as error:
        return False, f"{type(error).__name__}: {error}"


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise ValueError(f"{platform.python_version()}; 3.11, 3.12 or 3.13 is needed")
    return platform.python_version()


def _prefect_server() -> str:
    import_module("prefect.server.api.server")
    return f"prefect {metadata.version('prefect')}, fastapi {metadata.version('fastapi')}"


def _packages() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("aiohttp", "pyarrow", "sqlalchemy", "tokenizers"))


def _extras() -> str:
    absent = dict.fromkeys(extra for module, extra in EXTRA_OF.items() if missing(module))
    there = [extra for extra in dict.fromkeys(EXTRA_OF.values()) if extra not in absent]
    return f"installed: {', '.join(there) or 'none'}; not: {', '.join(absent) or 'none'}"


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if total < 2 << 30:
        raise ValueError(f"{total / 2**30:.1f} GiB; 2 are needed")
    return f"{total / 2**30:.1f} GiB"


def _disk(root: Path) -> str:
    place = root if root.exists() else Path()
    free = shutil.disk_usage(place).free
    if free < _LEAST_DISK:
        raise StorageError("disk-full", f"{free / 2**30:.1f} GiB free")
    return f"{free / 2**30:.1f} GiB free"


def _fsync(root: Path) -> str:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        began = time.perf_counter()
        for _ in range(20):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        each = (time.perf_counter() - began) / 20
    return f"{each * 1000:.1f} ms per fsync"


def _ledger() -> str:
    from cogumi.store.schema import open_engine, prepare

    url = os.environ.get("COGUMI_LEDGER_URL")
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(url or f"sqlite:///{folder}/ledger.db")
        try:
            prepare(engine)
            return f"{engine.dialect.name}{' by COGUMI_LEDGER_URL' if url else ''}"
        finally:
            engine.dispose()


def _sandbox() -> str:
    problem = sandbox_problem()
    if problem:
        raise ValueError(f"{problem}: generated programs will be marked unverified; apt-get install bubblewrap")
    return "bubblewrap, contained"


def _clock() -> str:
    now = time.gmtime()
    if now.tm_year < 2026:
        raise ValueError(f"the clock says {now.tm_year}")
    return time.strftime("%Y-%m-%d %H:%M UTC", now)


def _prefect_api() -> str:
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        return "none configured: a temporary server is started"
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise ValueError(f"PREFECT_API_URL is not http: {url}")
    with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5) as reply:  # nosec B310 # scheme checked above
        return f"answers ({reply.status})"


def _price_check(section: TeacherSection) -> Check:
    def check() -> str:
        price = price_of(section)
        return f"{section.model}: ${price.prompt / 1000:g} in, ${price.completion / 1000:g} out per million tokens"

    return check


def _store(url: str) -> str:
    """Publishing needs a store that keeps the first of two puts of one key; many S3 servers keep the second."""
    if not put_twice(ObjectStore(url), f"doctor-{uuid4().hex}"):
        raise StorageError("store-refused", f"{url}: a second put of the same key won; If-None-Match is not honoured")
    return "keeps the first of two puts of the same key"
