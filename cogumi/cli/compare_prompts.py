"""`cogumi compare-prompts A B`: two system prompts, compared on the same questions by the judge; the price first."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cogumi.cli.comparison_text import price_text, result_text
from cogumi.cli.output import RESULTS, JsonOption, note, print_json, say
from cogumi.cli.progress import progress
from cogumi.dataset.requirements import check_keys
from cogumi.domain import Difficulty, Question
from cogumi.errors import InputError, Interrupted
from cogumi.recipe import Recipe, load_recipe, preset_names
from cogumi.store.run_folder import RunFolder, ledger_url, name_in_ledger, read_run, run_path
from cogumi.teachers.server.rehearsal import as_rehearsal

if TYPE_CHECKING:
    from cogumi.dataset.compare_prompts import Comparison, ComparisonPrice, QuestionSet

_STAGES = ("answers_easy", "answers_hard")


def compare_prompts(
    a: str = typer.Argument(help="A system prompt: a text file, builtin, or builtin+guide."),
    b: str = typer.Argument(help="The other system prompt."),
    recipe: str = typer.Option(
        ..., "--recipe", "-r", help=f"Teacher and judge: a preset ({', '.join(preset_names())}) or a YAML file."
    ),
    stage: str = typer.Option("answers_hard", "--stage", help=f"The prompts' stage: {' or '.join(_STAGES)}."),
    questions: list[Path] = typer.Option([], "--questions", help="Questions: .jsonl files or folders."),
    run: str = typer.Option("", "--run", help="The questions of this finished run."),
    rows: int = typer.Option(100, "--rows", min=1, help="Questions to compare on, at most."),
    overrides: list[str] = typer.Option([], "--set", help="Change the recipe: section.key=value."),
    name: str = typer.Option("", "--name", help="Run folder of the comparison; by default compare-RECIPE."),
    root: Path = typer.Option(Path("runs"), "--root", help="Folder that holds the runs."),
    rehearse: bool = typer.Option(
        False, "--rehearse", help="The embedded provider instead of teacher and judge: no key, simulated cost."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="The price, without a call."),
    yes: bool = typer.Option(False, "--yes", help="Accept the price; needed where there is no terminal to ask at."),
    as_json: bool = JsonOption,
) -> None:
    """Compare two system prompts on the same questions. The same command again resumes it and buys what is missing."""
    loaded = load_recipe(recipe, overrides)
    loaded = as_rehearsal(loaded) if rehearse else loaded
    drawn = _questions(loaded, stage, questions, run, rows, root)
    comparison = _comparison(loaded, stage, a, b, drawn.questions)
    if not dry_run:
        check_keys(loaded, comparison.called)
    name = name or f"compare-{loaded.name}"
    price = _price(comparison, run_path(root, name))
    text = price_text(comparison, price, name, drawn.left_out, RESULTS.width)
    figures: dict[str, Any] = {"run": name, "price": price.to_json(), "questions_left_out": drawn.left_out}
    if dry_run:
        print_json(figures) if as_json else say(text)
        return
    note(text)
    _accept(price, loaded, yes)
    figures |= _compared(comparison, root, name)
    if as_json:
        print_json(figures)
        return
    place = run_path(root, name) / "comparisons" / comparison.identity
    say(result_text(figures, place, RESULTS.width))


def _questions(recipe: Recipe, stage: str, files: list[Path], run: str, rows: int, root: Path) -> QuestionSet:
    """Raises InputError stage-unknown, questions-not-named, questions-unreadable; RunError run-without-dataset."""
    if stage not in _STAGES:
        raise InputError("stage-unknown", f"{stage!r}; prompts of {' and '.join(_STAGES)} can be compared")
    if bool(files) == bool(run):
        raise InputError("questions-not-named", f"--questions and --run: {'both' if run else 'neither'} given")
    from cogumi.dataset.compare_prompts import questions_of_files, questions_of_run

    difficulty = Difficulty(stage.removeprefix("answers_"))
    if files:
        return questions_of_files(files, recipe, difficulty, rows, recipe.seed)
    folder = run_path(root, run)
    read_run(folder)
    return questions_of_run(folder, difficulty, rows, recipe.seed)


def _comparison(recipe: Recipe, stage: str, a: str, b: str, questions: list[Question]) -> Comparison:
    """Raises InputError prompt-unreadable, prompts-same."""
    from cogumi.dataset.compare_prompts import Comparison, read_candidate

    hard = stage == "answers_hard"
    one, other = read_candidate(a, hard), read_candidate(b, hard)
    if one.system == other.system:
        raise InputError("prompts-same", f"{a} and {b}")
    return Comparison(recipe, stage, one, other, questions)


def _price(comparison: Comparison, folder: Path) -> ComparisonPrice:
    """What is left to buy, with the ledger of the folder where there is one."""
    from cogumi.dataset.compare_prompts import price_of_comparison
    from cogumi.store.ledger import Ledger

    if not (folder / "run.json").is_file():
        return asyncio.run(price_of_comparison(comparison, None))
    read_run(folder)
    ledger = Ledger.view(ledger_url(folder), name_in_ledger(folder))
    try:
        return asyncio.run(price_of_comparison(comparison, ledger))
    finally:
        ledger.close()


def _accept(price: ComparisonPrice, recipe: Recipe, yes: bool) -> None:
    """Ask, where real money would be spent. Raises InputError price-not-accepted."""
    if yes or recipe.rehearsal or price.cost_usd == 0:
        return
    most = f"at most about ${price.cost_usd:,.2f}"
    if not sys.stdin.isatty():
        raise InputError("price-not-accepted", f"{most}, and there is no terminal to ask at")
    if not typer.confirm(f"Spend {most}?", err=True):
        raise InputError("price-not-accepted", most)


def _compared(comparison: Comparison, root: Path, name: str) -> dict[str, Any]:
    from cogumi.cli.interrupts import run_until_interrupted
    from cogumi.dataset.compare_prompts import compare

    command, count = shlex.join(["cogumi", *sys.argv[1:]]), len(comparison.questions)
    try:
        # Each comparison has its own folder.
        opened = RunFolder.open(root, name, comparison.recipe, command, change=True)
        with progress("compare-prompts") as reporter, opened as folder:

            def compared(done: int) -> None:
                reporter.update("questions", done, count, "questions")

            return run_until_interrupted(compare(comparison, folder, compared))
    except KeyboardInterrupt:
        raise Interrupted("run-interrupted", name) from None
