"""`cogumi push`: an artifact of a run to a model hub. Without --yes it only shows what it would send."""

from __future__ import annotations

from pathlib import Path

import typer

from cogumi.cli.output import JsonOption, print_json, print_table, say, say_done, warn
from cogumi.cli.progress import progress
from cogumi.phases import report_phase
from cogumi.training.claim import need_torch


def push(
    folder: Path = typer.Argument(help="The artifact's folder: runs/NAME/merged, adapter, draft or base."),
    to: str = typer.Option(..., "--to", help="OWNER/NAME on the hub."),
    public: bool = typer.Option(False, "--public", help="Anybody may read it; otherwise the repository is private."),
    yes: bool = typer.Option(False, "--yes", help="Send it. Without this the plan is shown and nothing is sent."),
    as_json: bool = JsonOption,
) -> None:
    """Send an artifact to a model hub, in one commit, checked before and after."""
    need_torch("push")
    from cogumi.lm.push import check_folder, plan_push
    from cogumi.lm.push import push as send
    from cogumi.training.cards import card_of_artifact, name_is_asked_for

    name = to.partition("/")[2]
    with progress("push"):
        receipt = check_folder(folder)
        plan = plan_push(folder, receipt, to, card_of_artifact(name, receipt), public)
    warning = name_is_asked_for(name, receipt)
    told = {**plan.to_json(), "warnings": [warning] if warning else [], "sent": False}
    if not as_json:
        rows = [[name, size] for name, size in plan.files.items()]
        title = f"{folder} to {plan.endpoint}/{plan.repository}, {told['visibility']}, {plan.bytes / 1e6:,.1f} MB"
        print_table(title, ["file", "bytes"], rows)
        if plan.left_out:
            say(f"  stays here: {', '.join(plan.left_out)}")
        if warning:
            warn(warning)
    if yes:
        with progress("push"):
            report_phase(f"sending {plan.bytes / 1e6:,.1f} MB")
            told |= {**send(plan), "sent": True}
    if as_json:
        print_json(told)
    elif yes:
        say_done(f"{told['url']} at {told['commit']}")
    else:
        say("nothing was sent; --yes sends it")
