"""`cogumi benchmarks`: what a benchmark's file is, and the rows that a model is validated on."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from cogumi.cli.output import JsonOption, print_json, print_table, say
from cogumi.cli.progress import progress
from cogumi.errors import InputError, RunError
from cogumi.evaluate.benchmarks import BENCHMARKS
from cogumi.evaluate.contamination import ContaminationIndex, by_source
from cogumi.evaluate.files import json_rows
from cogumi.evaluate.fingerprints import Checked, check, check_together, known, recognise
from cogumi.evaluate.harness import export
from cogumi.evaluate.row import BenchmarkRow
from cogumi.evaluate.sample import ROWS, SEED, stratified
from cogumi.evaluate.suite import SUITE, read_suite
from cogumi.recipe import MAX_SEED
from cogumi.store.files import write_jsonl

app = typer.Typer(help="Benchmarks: what a file is, and the rows to validate on.", no_args_is_help=True)


@app.command("ls")
def ls(as_json: bool = JsonOption) -> None:
    """The benchmarks that are known, their sizes and licences."""
    rows: list[dict[str, Any]] = [
        {"name": each.name, "counts": each.counts, "licence": each.licence, "source": each.source,
         "known_by_questions": sorted(known().get(each.name, {}))}
        for each in BENCHMARKS.values()
    ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    shown = [[row["name"], ", ".join(f"{part} {n:,}" for part, n in row["counts"].items()), row["licence"],
              ", ".join(row["known_by_questions"]) or "-"] for row in rows]  # fmt: skip
    print_table("Benchmarks", ["name", "rows", "licence", "known by questions"], shown)


@app.command("look")
def look(
    place: Path = typer.Argument(help="A file, or a folder of MMLU's or MGSM's files."),
    name: str = typer.Option(..., "--as", help="The benchmark that it is said to be."),
    as_json: bool = JsonOption,
) -> None:
    """Whether a file is the benchmark that it is called; what is wrong with it is an error."""
    rows = _read(name, place)
    checked = check(name, rows)
    told = _told(name, checked) | {"matches": [f"{m.name} {m.part}: {m.hits} of {m.of}" for m in recognise(rows)]}
    if as_json:
        print_json(told)
        return
    part = f"{checked.part}, " if checked.part else ""
    whole = "all of it" if checked.complete else "a part of it, or of another release"
    say((name, "bold green"), f": {part}{told['rows']:,} questions, {whole}; {told['repeated']} repeated")
    for field in ("difficulty", "subject"):
        shown = ", ".join(f"{value} {count:,}" for value, count in list(told[field].items())[:12])
        say(f"  {field}: {shown}{' ...' if len(told[field]) > 12 else ''}")


@app.command("sample")
def sample(
    given: list[str] = typer.Argument(help="NAME=PATH of each benchmark."),
    count: int = typer.Option(ROWS, "--rows", min=1, help="Rows of each."),
    seed: int = typer.Option(
        SEED, "--seed", min=0, max=MAX_SEED, help="Which rows; the same seed gives the same ones."
    ),
    out: Path = typer.Option(Path("validation_test.jsonl"), "--out", "-o", help="File to write."),
    as_json: bool = JsonOption,
) -> None:
    """Rows of each benchmark in proportion by difficulty and subject, in one file of one form."""
    checked: dict[str, Checked] = {}
    for name, place in map(_named, given):
        checked[name] = check(name, _read(name, place))
    chosen = {name: stratified(found.rows, count, seed) for name, found in checked.items()}
    check_together(chosen)
    digest = write_jsonl(out, (row.to_json() for rows in chosen.values() for row in rows))
    counts = {name: len(rows) for name, rows in chosen.items()}
    told = {"file": str(out), "sha256": digest, "seed": seed, "rows": counts}
    if as_json:
        print_json(told)
        return
    print_table(str(out), ["benchmark", "rows"], [[name, n] for name, n in counts.items()])


@app.command("contamination")
def contamination(
    rows: Path = typer.Argument(help="Training rows: JSON lines with prompt and response, or a dataset's folder."),
    given: list[str] = typer.Argument(help="NAME=PATH of each benchmark."),
    most: int = typer.Option(0, "--most", min=0, help="So many rows may hold a benchmark's question."),
    out: Path | None = typer.Option(None, "--out", "-o", help="File for the rows that do: number, benchmark, how."),
    as_json: bool = JsonOption,
) -> None:
    """Training rows that hold benchmark questions: letter for letter, by a 13-gram overlap, or nearly."""
    file = rows / "train.jsonl" if rows.is_dir() else rows
    with progress("contamination"):
        sources = {name: check(name, _read(name, place)).rows for name, place in map(_named, given)}
        texts = [(str(row.get("prompt", "")), str(row.get("response", ""))) for row in json_rows(file)]
        hits = ContaminationIndex(sources).look(texts)
    if out is not None:
        write_jsonl(out, (asdict(hit) for hit in hits))
    share, by = len(hits) / max(1, len(texts)), by_source(hits)
    told = {"rows": len(texts), "contaminated": len(hits), "share": share, "by": by}
    if not as_json:
        shown = [[source, how, count] for source, found in by.items() for how, count in found.items()]
        title = f"{len(hits):,} of {len(texts):,} rows hold a benchmark's question"
        print_table(title, ["benchmark", "found by", "rows"], shown)
    if len(hits) > most:
        raise RunError("training-contaminated", f"{file}: {len(hits)} rows, {most} allowed")
    if as_json:  # where rows are refused, the error is the document
        print_json(told)


@app.command("export")
def export_to_harness(
    suite: Path = typer.Argument(help="Rows: a file of `benchmarks sample`, or a run's suite."),
    out: Path = typer.Option(Path("lm-eval"), "--out", "-o", help="Folder for a YAML and a JSONL of each benchmark."),
    as_json: bool = JsonOption,
) -> None:
    """The same rows as tasks of lm-evaluation-harness, so that it can check what `cogumi evaluate` says."""
    names = export(read_suite(suite / SUITE if suite.is_dir() else suite), out)
    if as_json:
        print_json({"folder": str(out), "tasks": names})
        return
    say(f"{out}: {', '.join(names)}")
    tasks = ",".join(names)
    say(f"  lm_eval --model hf --model_args pretrained=MODEL --include_path {out} --tasks {tasks}")


def _named(given: str) -> tuple[str, Path]:
    """NAME=PATH in two. Raises InputError benchmark-unknown."""
    name, separator, place = given.partition("=")
    if not separator:
        raise InputError("benchmark-unknown", f"{given!r}: write NAME=PATH")
    return name, Path(place)


def _read(name: str, place: Path) -> list[BenchmarkRow]:
    """Raises InputError benchmark-unknown, benchmark-unreadable, benchmark-columns."""
    if name not in BENCHMARKS:
        raise InputError("benchmark-unknown", f"{name!r}; there are {', '.join(BENCHMARKS)}")
    if not place.exists():
        raise InputError("benchmark-unreadable", f"{place}: there is nothing")
    return list(BENCHMARKS[name].read(place))


def _told(name: str, checked: Checked) -> dict[str, Any]:
    return {
        "benchmark": name, "part": checked.part, "complete": checked.complete, "rows": len(checked.rows),
        "repeated": checked.repeated, "licence": BENCHMARKS[name].licence,
        "difficulty": dict(Counter(row.difficulty for row in checked.rows).most_common()),
        "subject": dict(Counter(row.subject for row in checked.rows).most_common()),
    }  # fmt: skip
