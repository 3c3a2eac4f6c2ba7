"""`cogumi up`, `down`, `status`, `resume`: a Prefect server with its pools, deployments and workers on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cogumi.cli.dataset_progress import dataset_progress
from cogumi.cli.output import JsonOption, note, print_json, print_table, say
from cogumi.cli.progress import progress
from cogumi.cli.run_stage import STAGES, run_model_stage, run_stages
from cogumi.cli.training_progress import training_progress
from cogumi.cli.with_prefect import run_flow
from cogumi.dataset.request import DatasetRequest
from cogumi.errors import InputError, RunError, StorageError
from cogumi.evaluate.request import ValidateRequest
from cogumi.store.run_folder import run_path
from cogumi.system.request import PipelineRequest
from cogumi.training.request import BaseRequest, DraftRequest, ImitationRequest, ModelRequest, TrainRequest

if TYPE_CHECKING:
    from deployments.stack import Standing

HomeOption = typer.Option(Path(".cogumi"), "--home", help="Folder of the server's database, logs and process ids.")
Request = DatasetRequest | ModelRequest | PipelineRequest


def up(
    home: Path = HomeOption,
    port: int | None = typer.Option(None, "--port", min=1, max=65535, help="Port of dashboard and API (4200)."),
    host: str | None = typer.Option(None, "--host", help="Address to listen at (127.0.0.1)."),
    database_url: str | None = typer.Option(None, "--database-url", help="postgresql://... instead of SQLite."),
    redis_url: str | None = typer.Option(None, "--redis-url", help="redis://... for events and leases."),
    simulate: bool | None = typer.Option(
        None, "--simulate/--no-simulate", help="The GPU pools accept runs on a CPU, which say so."
    ),
    notify: str = typer.Option("", "--notify", help="Notification block to tell, such as slack-webhook/team."),
    as_json: bool = JsonOption,
) -> None:
    """Start server and workers, and make pools, queues, blocks, automations and deployments. Again: mend what is gone;
    what is not given stays as it was.
    """
    given = {"port": port, "host": host, "database_url": database_url, "redis_url": redis_url, "simulate": simulate}
    changes = {name: value for name, value in given.items() if value is not None}
    with progress("up"):
        standing = _stack().up(home, changes, notify, lambda words: note(f"  {words}"))
    _show(standing, as_json)


def down(
    home: Path = HomeOption,
    grace: float = typer.Option(30.0, "--grace", min=0, help="Seconds that running flows get to finish."),
) -> None:
    """End workers and server. What a run has bought stays: the next run goes on with it."""
    stack = _stack()
    if stack.status(home) is None:
        raise RunError("site-missing", str(home))
    killed = stack.down(home, grace)
    say("down" + (f"; {', '.join(killed)} did not end within {grace:g} s" if killed else ""))


def status(home: Path = HomeOption, as_json: bool = JsonOption) -> None:
    """Whether server and workers are there, and where the dashboard is."""
    standing = _stack().status(home)
    if standing is None:
        raise RunError("site-missing", str(home))
    _show(standing, as_json)


def resume(
    name: str = typer.Argument(help="The run, a folder under --root."),
    root: Path = typer.Option(Path("runs"), "--root", help="Folder that holds the runs."),
    home: Path = HomeOption,
    here: bool = typer.Option(False, "--here", help="In this process, even where a server is up."),
    as_json: bool = JsonOption,
) -> None:
    """Go on with a run that was stopped, crashed or failed; nothing is bought twice."""
    deployment, request = kept(run_path(root, name))
    stack = _stack()
    by_command = isinstance(request, PipelineRequest) and not request.dataset.dataset  # `cogumi run all`
    standing = None if here or by_command else stack.status(home)
    if standing is None or not standing.answers:
        _go_on_here(in_folder(request, root, name, Path.cwd()), as_json)
        return
    request = in_folder(request, root, name, Path(standing.site.work))
    run = trigger(f"{standing.site.root}/api", deployment, request)
    url = f"{standing.site.root}/runs/flow-run/{run['id']}"
    if as_json:
        print_json({"flow_run": run["id"], "url": url})
    else:
        say(f"{name} goes on as flow run {run['name']}: {url}")


def in_folder(request: Request, root: Path, name: str, work: Path) -> Request:
    """The request for the run in `root` / `name`, whatever folder it was kept for: a folder may be moved or copied.

    Args:
        work: the folder that relative paths are of where the request is carried out.
    """
    asked = request.dataset if isinstance(request, PipelineRequest) else request
    if (work / asked.root / asked.run).resolve() == run_path(root, name):
        return request
    place = {"root": str(root.resolve()), "run": name}
    if isinstance(request, PipelineRequest):
        return request.model_copy(update={"dataset": request.dataset.model_copy(update=place)})
    return request.model_copy(update=place)


def trigger(api: str, deployment: str, request: Request) -> dict[str, Any]:
    """Start a deployment with a request. Raises InputError form-refused, StorageError server-unreachable."""
    import httpx

    try:
        found = httpx.get(f"{api}/deployments/name/{deployment}", timeout=20).raise_for_status().json()
        body = {"parameters": {"request": request.model_dump(mode="json")}, "state": {"type": "SCHEDULED"}}
        made = httpx.post(f"{api}/deployments/{found['id']}/create_flow_run", json=body, timeout=20)
        if made.status_code in (409, 422):
            raise InputError("form-refused", f"{deployment}: {made.text[:300]}")
        return dict(made.raise_for_status().json())
    except httpx.HTTPError as error:
        raise StorageError("server-unreachable", f"{api}: {error}") from error


def kept(folder: Path) -> tuple[str, Request]:
    """(deployment, request) that a run was started with: the pipeline's where it was one."""
    if PipelineRequest.is_kept(folder):
        return "pipeline/on-demand", PipelineRequest.kept(folder)
    if not DatasetRequest.is_kept(folder):
        if ValidateRequest.is_kept(folder):
            return "validate-model/h100", ValidateRequest.kept(folder)
        if DraftRequest.is_kept(folder):
            return "train-draft/h100", DraftRequest.kept(folder)
        if ImitationRequest.is_kept(folder):
            return "train-draft-sft/a100", ImitationRequest.kept(folder)
        if TrainRequest.is_kept(folder):
            return "train-models/h100", TrainRequest.kept(folder)
        if BaseRequest.is_kept(folder):
            return "pretrain-base/h100", BaseRequest.kept(folder)
    return "generate-dataset/on-demand", DatasetRequest.kept(folder)


def _go_on_here(request: Request, as_json: bool) -> None:
    if isinstance(request, ModelRequest):
        run_model_stage(request, prefect=True, as_json=as_json)
    elif isinstance(request, PipelineRequest) and not request.dataset.dataset:
        run_stages(request.dataset, STAGES[-1], prefect=True, as_json=as_json)
    elif isinstance(request, PipelineRequest):
        with dataset_progress(), training_progress("pipeline"):
            made = run_flow("pipeline", request.model_copy(update={"dispatch": "local"}))
        if as_json:
            print_json(made)
        else:
            say("; ".join(f"{phase}: {artifact}" for phase, artifact in made.items()))
    else:
        run_stages(request, "dataset", prefect=True, as_json=as_json)


def _show(standing: Standing, as_json: bool) -> None:
    if as_json:
        print_json(standing.to_json())
        return
    rows = [[name, "up" if alive else "gone"] for name, alive in standing.processes.items()]
    print_table("", ["process", ""], rows)
    words = f"dashboard {standing.site.root}" if standing.answers else "the server does not answer; run cogumi up"
    say(words)


def _stack() -> Any:
    try:
        from deployments import stack
    except ModuleNotFoundError as error:
        raise InputError("from-wheel", str(error)) from None
    return stack
