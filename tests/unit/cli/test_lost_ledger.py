"""A finished run whose ledger is lost: nothing makes an empty one, no cost is forgotten, and nothing is bought again."""

from __future__ import annotations

import json
from pathlib import Path

from cogumi.report.build import write_report
from tests.unit.cli.test_cli import NO_PREFECT, cogumi, refused

RUN = ["run", "dataset", "--recipe", "tiny"]


def test_a_finished_run_says_so_and_whatever_needs_its_ledger_ends_with_ledger_missing(tmp_path: Path) -> None:
    assert cogumi(*RUN, *NO_PREFECT, cwd=tmp_path).returncode == 0
    folder = tmp_path / "runs" / "tiny"
    assert json.loads(cogumi(*RUN, "--dry-run", "--json", cwd=tmp_path).stdout)["finished"] is True
    for file in folder.glob("ledger.db*"):
        file.unlink()
    before = (folder / "report.json").read_bytes()

    refused(cogumi("report", "tiny", cwd=tmp_path), "ledger-missing", 4)
    refused(cogumi("ledger", "show", "tiny", cwd=tmp_path), "ledger-missing", 4)
    refused(cogumi("ledger", "backup", "tiny", "copy.db", cwd=tmp_path), "ledger-missing", 4)
    refused(cogumi("batches", "tiny", cwd=tmp_path), "ledger-missing", 4)
    refused(cogumi("ledger", "restore", "copy.db", "--to", "tiny", cwd=tmp_path), "backup-not-found", 2)

    again = cogumi(*RUN, *NO_PREFECT, cwd=tmp_path)
    assert again.returncode == 0 and "the dataset is finished, nothing to buy" in again.stderr
    dry = cogumi(*RUN, "--dry-run", cwd=tmp_path)
    assert dry.returncode == 0 and "the dataset is finished, nothing to buy" in dry.stdout
    for done in (again, dry):
        assert "the ledger of tiny is gone" in done.stderr and "cogumi ledger restore BACKUP --to tiny" in done.stderr
    forecast = json.loads(cogumi(*RUN, "--dry-run", "--json", cwd=tmp_path).stdout)
    assert (forecast["calls"], forecast["cost_usd"], forecast["finished"], forecast["stops"]) == (0, 0, True, None)

    changed = ["--set", "dataset.judge.pass_mean=8"]
    refused(cogumi(*RUN, *changed, "--dry-run", cwd=tmp_path), "ledger-missing", 4)
    refused(cogumi(*RUN, *changed, "--change", *NO_PREFECT, cwd=tmp_path), "ledger-missing", 4)
    assert not list(folder.glob("ledger.db*")) and not (tmp_path / "copy.db").exists()
    assert (folder / "report.json").read_bytes() == before

    report = write_report(folder)  # as a training stage does when it ends
    assert report["cost"] and report["attempts"] and report["cost"] == json.loads(before)["cost"]
    assert not list(folder.glob("ledger.db*"))


def test_resume_goes_on_with_the_folder_that_is_named_and_no_other(tmp_path: Path) -> None:
    """Moved or copied, and asked for from elsewhere: what the kept request says of its place does not count."""
    assert cogumi(*RUN, *NO_PREFECT, cwd=tmp_path).returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runs" / "tiny").rename(elsewhere / "copy")
    done = cogumi("resume", "copy", "--root", str(elsewhere), "--here", cwd=tmp_path)
    assert done.returncode == 0 and "copy: the dataset is finished, nothing to buy" in done.stderr
    shown = cogumi("ledger", "show", "copy", "--root", str(elsewhere), "--json", cwd=tmp_path)
    assert sum(row["attempts"] for row in json.loads(shown.stdout)) > 80
    changed = [*RUN, "--run", "copy", "--root", str(elsewhere), "--set", "dataset.judge.pass_mean=7.5", "--dry-run"]
    expected = json.loads(cogumi(*changed, "--json", cwd=tmp_path).stdout)
    assert expected["reused"] > 80, "its calls are those that it has made under its name of then"
    cogumi("ledger", "backup", "copy", "copy.db", "--root", str(elsewhere), cwd=tmp_path)
    for file in (elsewhere / "copy").glob("ledger.db*"):
        file.unlink()
    assert (
        cogumi("ledger", "restore", "copy.db", "--to", "copy", "--root", str(elsewhere), cwd=tmp_path).returncode == 0
    )
    assert cogumi("report", "copy", "--root", str(elsewhere), cwd=tmp_path).returncode == 0
    for file in (elsewhere / "copy").glob("ledger.db*"):
        file.unlink()
    (elsewhere / "copy" / "report.html").unlink()  # so that it is not taken for finished without a look
    refused(cogumi("resume", "copy", "--root", str(elsewhere), "--here", cwd=tmp_path), "ledger-missing", 4)
    assert not (tmp_path / "runs" / "tiny").exists() and sorted(path.name for path in elsewhere.iterdir()) == ["copy"]
