"""The command line starts without the libraries that the command at hand does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cogumi.cli.main import Commands
from cogumi.extras import EXTRA_OF

HEAVY = {"sqlalchemy", "pyarrow", "aiohttp", "httpx", "jinja2", "fsspec", "prefect", *EXTRA_OF}
"""Each takes a tenth of a second or more."""
RUN = """
import sys

from cogumi.cli.main import run

for arguments in {commands!r}:
    sys.argv = ["cogumi", *arguments]
    try:
        run()
    except SystemExit as ended:
        assert ended.code == {code}, (arguments, ended.code)
    found = sorted({heavy!r} & sys.modules.keys())
    assert not found, (arguments, found)
"""


def starts_light(commands: list[list[str]], heavy: set[str], cwd: Path, code: int = 0) -> None:
    """All in one process, so that what one imports would be seen with the next at the latest."""
    script = RUN.format(commands=commands, heavy=heavy, code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_version_and_the_list_of_commands_import_no_command(tmp_path: Path) -> None:
    own = {f"cogumi.{name}" for name in ("recipe", "store", "dataset", "cli.run_stage")}
    starts_light([["--version"], ["--help"]], HEAVY | own, tmp_path)
    starts_light([["rnu"], ["--versoin"]], HEAVY | own, tmp_path, code=2)


def test_help_and_a_wrong_argument_of_every_command_import_nothing_heavy(tmp_path: Path) -> None:
    commands = []
    for name, command in Commands().loaded().items():
        commands += [[name, inner] for inner in getattr(command, "commands", ())] or [[name]]
    assert len(commands) >= 31
    starts_light([[*command, "--help"] for command in commands], HEAVY, tmp_path)
    starts_light([[*command, "--no-such-option"] for command in commands], HEAVY, tmp_path, code=2)
    wrong = [["run", "datset"], ["run", "dataset", "--recipe", "dmeo"], ["demo", "--only", "x"], ["report", "../no"]]
    starts_light(wrong, HEAVY, tmp_path, code=2)


def test_a_listed_summary_is_the_commands_own() -> None:
    for name, command in Commands().loaded().items():
        assert command.help.split("\n\n")[0].replace("\n", " ") == Commands.SOURCES[name].summary, name
