"""`cogumi teacher serve`: the loopback provider by itself, to rehearse against before paying a real one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cogumi.cli.output import JsonOption, print_json, say
from cogumi.errors import InputError, address_error
from cogumi.recipe import MAX_SEED

if TYPE_CHECKING:
    from cogumi.teachers.server.app import Behaviour

app = typer.Typer(help="The embedded teacher.", no_args_is_help=True)


@app.callback()
def teacher() -> None:
    """The embedded teacher."""


@app.command("serve")
def serve_command(
    port: int = typer.Option(8712, min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one."),
    latency_s: float = typer.Option(0.05, min=0, help="Mean time to answer."),
    fault_share: float = typer.Option(0.0, min=0, max=1, help="Share of requests that meet a fault."),
    script: str = typer.Option("", help="Faults of the first requests by name, comma-separated; 'ok' for none."),
    rpm: float = typer.Option(0.0, min=0, help="Requests per minute; 0 for no limit."),
    tpm: float = typer.Option(0.0, min=0, help="Tokens per minute; 0 for no limit."),
    defect_share: float = typer.Option(0.0, min=0, max=1, help="Share of generated questions that are defective."),
    wrong_share: float = typer.Option(0.0, min=0, max=1, help="Share of answers that are wrong."),
    untidy_share: float = typer.Option(0.0, min=0, max=1, help="Share of replies in an untidy format."),
    key: str = typer.Option("", envvar="COGUMI_LOOPBACK_KEY", help="Key that requests must carry."),
    seed: int = typer.Option(0, min=0, max=MAX_SEED, help="Seed of the faults."),
    bill: Path | None = typer.Option(None, help="File for the bill, one line a charge."),
    as_json: bool = JsonOption,
) -> None:
    """Serve OpenAI chat and models and Anthropic messages on loopback, until interrupted."""
    from cogumi.teachers.server.app import Behaviour
    from cogumi.teachers.server.bill import MODELS
    from cogumi.teachers.server.faults import known_faults

    names = [name for name in script.split(",") if name]
    unknown = sorted(set(names) - {*known_faults(), "ok"})
    if unknown:
        raise InputError(
            "stage-unknown", f"no fault called {', '.join(unknown)}; there are {', '.join(known_faults())}"
        )
    behaviour = Behaviour(
        latency_s=latency_s, fault_share=fault_share, seed=seed, defect_share=defect_share, wrong_share=wrong_share,
        untidy_share=untidy_share, rpm=rpm or None, tpm=tpm or None, key=key, script=names, bill=bill,
    )  # fmt: skip

    def listening(bound: int) -> None:
        if as_json:
            print_json({"port": bound, "models": list(MODELS), "faults": list(known_faults())})
            return
        say(f"models: {', '.join(MODELS)}\nOpenAI base_url: http://127.0.0.1:{bound}/v1")
        say("Anthropic base_url: the same without /v1\nCtrl-C ends it")

    try:
        asyncio.run(_serve(behaviour, port, listening))
    except OSError as error:
        raise address_error(error, f"127.0.0.1:{port}") from None


async def _serve(behaviour: Behaviour, port: int, listening: Callable[[int], None]) -> None:
    from cogumi.teachers.server.serve import serve

    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, until.set)
    await serve(behaviour, port, until, listening)
