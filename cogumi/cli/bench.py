"""`cogumi bench NAME`: a table, and as the last line one JSON document."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import typer

from cogumi.cli.output import JsonOption
from cogumi.errors import InputError


def bench(
    name: str = typer.Argument(
        help="The benchmark: client, limits, ledger, orchestration, dedup, scale, procedural, meta, sinusoid, adapt, "
        "transplant, team, draft, likelihood, forecast, neighbour."
    ),
    quick: bool = typer.Option(False, "--quick", help="A shorter run, for trying it out; not for reporting."),
    save: bool = typer.Option(
        False, "--save", help="Store the result under benchmarks/results with date, hardware and versions."
    ),
    as_json: bool = JsonOption,
) -> None:
    """Measure, and compare with the baselines in the same run."""
    try:
        import benchmarks
    except ModuleNotFoundError as error:
        raise InputError("from-wheel", str(error)) from None
    known = sorted(m.name for m in iter_modules(benchmarks.__path__) if not m.ispkg and m.name != "measuring")
    if name not in known:
        raise InputError("bench-unknown", f"{name!r}; there are {', '.join(known)}")
    import_module(f"benchmarks.{name}").main(quick=quick, save=save, table=not as_json)
