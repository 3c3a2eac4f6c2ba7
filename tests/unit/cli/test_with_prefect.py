"""Prefect's temporary server, as a command meets it: it ends with the command, logs to a file, and may fail to start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PATIENT = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180"}  # the codes import Prefect before its settings


def test_a_flow_that_is_told_to_end_leaves_no_server_behind(tmp_path: Path) -> None:
    """The signal hits while the flow's own code runs: Prefect then gives it to the handler that was there before."""
    code = """if True:
        import os, signal, sys, types
        from prefect import flow
        from cogumi.cli.with_prefect import run_flow

        @flow
        def struck(request):
            os.kill(os.getpid(), signal.SIGTERM)

        sys.modules["flows.struck"] = types.SimpleNamespace(struck=struck)
        try:
            run_flow("struck", {})
        except KeyboardInterrupt:
            print("interrupted")
        """
    environment = {**os.environ, **PATIENT, "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(  # returns when all who hold its output are gone, the server too
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done


def test_what_the_temporary_server_logs_is_in_a_file_and_not_on_the_terminal(tmp_path: Path) -> None:
    code = """if True:
        import sys, types
        from cogumi.cli.with_prefect import _settings, run_flow
        _settings()
        from prefect import flow

        @flow
        def spoken(request):
            return {}

        sys.modules["flows.spoken"] = types.SimpleNamespace(spoken=spoken)
        run_flow("spoken", {})
        """
    loud = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG", "PREFECT_SERVER_LOGGING_LEVEL": "DEBUG"}
    environment = {**os.environ, **PATIENT, "PREFECT_HOME": str(tmp_path / "prefect"), **loud}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "Flow run" in done.stderr, done
    assert "prefect.server" not in done.stderr
    assert "prefect.server" in (tmp_path / "prefect" / "temporary-server.log").read_text()


def test_a_temporary_server_that_does_not_start_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_text("not a database at all")
    command = [sys.executable, "-m", "cogumi.cli.main", "run", "dataset", "--recipe", "tiny"]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "2",
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "prefect-no-server" in done.stderr and "Traceback" not in done.stderr, done
