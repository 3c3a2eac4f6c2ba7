"""The dataset stage from the command line: its request, its forecast, the run, and what it made.

What a run needs is imported by it, so that a refusal and a finished run are quick.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cogumi.cli.change_text import tell_changes
from cogumi.cli.finished import figures_of_finished
from cogumi.cli.output import RESULTS, note, print_json, say, say_done, warn
from cogumi.dataset.lost_ledger import is_lost_file
from cogumi.dataset.request import DatasetRequest
from cogumi.dataset.requirements import check_keys
from cogumi.errors import Interrupted, RunError, StorageError
from cogumi.metrics.formatting import counted, number
from cogumi.recipe import Recipe, load_recipe
from cogumi.report.html import verdict
from cogumi.store.artifacts import replaced_artifacts
from cogumi.store.run_changes import RunChanges
from cogumi.store.run_folder import RunFolder, changes_of_run, check_root, read_run, run_path
from cogumi.store.versions import Versions


def request_for(
    recipe: str, name: str, overrides: list[str], questions: list[Path], root: Path, **more: Any
) -> DatasetRequest:
    """A checked request; everything wrong with it, and with the files of questions, is said before anything starts."""
    load_recipe(recipe, overrides)
    run_path(root, name or "unnamed")
    Versions(more.get("versions", "datasets"), more.get("dataset") or "unnamed")
    paths = [str(path) for path in questions]
    request = DatasetRequest.checked(
        run=name, recipe=recipe, overrides=overrides, questions=paths, root=str(root), **more
    )
    given = request.read_questions(request.load())
    if given is not None and given.quarantined:
        where = "with each row in the run's quarantine.jsonl"
        warn(f"{counted(len(given.quarantined), 'row')} of {given.rows:,} left out", f"{given.described()}; {where}")
    return request.named(period=f"{datetime.now(UTC):%Y-%m-%d}")


def run_dataset(request: DatasetRequest, prefect: bool) -> dict[str, Any]:
    """Run the dataset stage and return its figures."""
    recipe = request.load()
    check_keys(recipe)
    check_root(Path(request.root))
    from cogumi.cli.dataset_progress import dataset_progress
    from cogumi.cli.interrupts import run_until_interrupted
    from cogumi.cli.with_prefect import run_flow
    from cogumi.dataset.forecast import check_changes

    asyncio.run(check_changes(request, recipe, request.open_versions()))
    folder = run_path(Path(request.root), request.run)
    before = replaced_artifacts(folder)
    try:
        with dataset_progress():
            announce(request, recipe)
            if prefect:
                figures = run_flow("generate_dataset", request)
            else:
                figures = run_until_interrupted(_in_process(request, recipe))
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", request.run) from None
    for place in replaced_artifacts(folder):
        if place not in before:
            note(f"what stood there before is in {place}")
    return figures


def announce(request: DatasetRequest, recipe: Recipe) -> None:
    """Say what changes, what is reused and what will be bought, before the first call. A ledger that cannot be read
    now, such as one that another run is making, is left to the run, which takes the lock first.
    """
    from cogumi.dataset.estimate import calls_text
    from cogumi.dataset.forecast import existing_run

    try:
        folder = existing_run(Path(request.root), request.run)
        found = None if folder is None else _changes(request, recipe, folder)
        expected = None if folder is None else _forecast(request, recipe, draws=1)
    except StorageError:
        return
    if found is not None:
        tell_changes(request.run, found, "", request.change)
    if expected is not None and expected["reused"]:
        verb = "changing" if found is not None and found.content else "resuming"
        bought = f"about {calls_text(expected)} to buy, about ${expected['cost_usd']:,.2f}"
        left = bought if expected["calls"] else "nothing to buy"
        note(f"{verb} {request.run}: {counted(expected['reused'], 'reply', 'replies')} reused, {left}")


def show_forecast(request: DatasetRequest, as_json: bool) -> None:
    """The dry run: calls, tokens, dollars and minutes by stage, and what differs from the run that exists."""
    expected = dataset_forecast(request, as_json)
    if as_json:
        print_json(expected)


def dataset_forecast(request: DatasetRequest, quiet: bool) -> dict[str, Any]:
    """The forecast with `changes`, the keys that differ from the run that exists, and `finished`; printed unless it is
    to be quiet. A finished run needs no ledger for it: it buys nothing.
    """
    from cogumi.cli.estimate_table import estimate_text
    from cogumi.dataset.forecast import existing_run

    recipe = request.load()
    folder = existing_run(Path(request.root), request.run)
    found = None if folder is None else _changes(request, recipe, folder)
    changes = [] if found is None else [change.to_json() for change in found.changes]
    finished = figures_of_finished(request, recipe) is not None
    try:
        expected = {**_forecast(request, recipe), "changes": changes, "finished": finished}
    except RunError as error:
        if error.code != "ledger-missing" or not finished:
            raise
        return {**_nothing_to_buy(request, recipe, quiet), "changes": changes}
    if not quiet:
        if found is not None:
            tell_changes(request.run, found, "", request.change)
        say(estimate_text(expected, request.run, RESULTS.width))
        if expected["stops"]:
            warn("the run would stop", expected["stops"])
    return expected


def show_figures(request: DatasetRequest, figures: dict[str, Any]) -> None:
    """What the stage made, and where it lies."""
    folder = run_path(Path(request.root), request.run)
    say_done(f"{verdict(figures)} in {number(figures['seconds'], '.1f')} s")
    if figures["rehearsal"]:
        say("a rehearsal: the loopback provider wrote, judged and answered; its cost is simulated")
    say(f"  dataset: {folder / 'dataset'}\n  report:  {folder / 'report.html'}")


def warn_of_lost_ledger(request: DatasetRequest) -> None:
    """Say so where the ledger of a finished run is gone."""
    if not is_lost_file(run_path(Path(request.root), request.run)):
        return
    warn(
        f"the ledger of {request.run} is gone",
        f"another recipe would buy every reply again; cogumi ledger restore BACKUP --to {request.run} brings it back",
    )


def _nothing_to_buy(request: DatasetRequest, recipe: Recipe, quiet: bool) -> dict[str, Any]:
    """The forecast of a finished run whose ledger is gone."""
    from cogumi.dataset.estimate import estimate

    if not quiet:
        say(f"{request.run}: the dataset is finished, nothing to buy")
    warn_of_lost_ledger(request)
    return {**estimate(recipe, counts={}), "calls_range": [0, 0], "draws": 0, "stops": None, "finished": True}


def _changes(request: DatasetRequest, recipe: Recipe, folder: RunFolder) -> RunChanges:
    return changes_of_run(folder.path, read_run(folder.path), recipe, request.questions_told(recipe))


def _forecast(request: DatasetRequest, recipe: Recipe, draws: int | None = None) -> dict[str, Any]:
    from cogumi.dataset.forecast import existing_run, forecast
    from cogumi.dataset.replay import DRAWS

    folder = existing_run(Path(request.root), request.run)
    given, versions = request.read_questions(recipe), request.open_versions()
    return asyncio.run(forecast(recipe, folder, given, versions, draws or DRAWS))


async def _in_process(request: DatasetRequest, recipe: Recipe) -> dict[str, Any]:
    from cogumi.dataset.given import write_quarantine
    from cogumi.dataset.steps import generate, open_dataset_run
    from cogumi.dataset.versions import open_plan, publish_version
    from cogumi.report.build import write_report

    given, told = request.read_questions(recipe), request.questions_told(recipe)
    root = Path(request.root)
    with RunFolder.open(root, request.run, recipe, request.command, change=request.change, questions=told) as folder:
        request.keep(folder.path)
        if given is not None:
            write_quarantine(folder.path / "quarantine.jsonl", given)
        versions = request.open_versions()
        async with open_dataset_run(recipe, folder) as run:
            figures = await generate(run, await open_plan(run, given, versions), given)
        if versions is not None:
            publish_version(versions, folder.path, folder.name)
        write_report(folder.path)
    return figures
