"""The questions that prompts are compared on: those of a finished run, or of files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from cogumi.dataset.given import read_questions
from cogumi.dataset.published import open_published
from cogumi.domain import Cell, Difficulty, Question
from cogumi.errors import InputError, RunError
from cogumi.metrics.formatting import counted
from cogumi.recipe import Recipe
from cogumi.store.artifacts import RECEIPT


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions that are compared on; `left_out` counts the others of their source by reason."""

    questions: list[Question]
    left_out: dict[str, int]


def questions_of_run(folder: Path, difficulty: Difficulty, rows: int, seed: int) -> QuestionSet:
    """Questions of a run's published dataset, as `_drawn` takes them.

    Raises RunError run-without-dataset; StorageError artifact-damaged; InputError questions-unreadable.
    """
    if not (folder / "dataset" / RECEIPT).is_file():
        raise RunError("run-without-dataset", str(folder))
    questions = [
        Question(
            row["question"],
            Cell(row["domain"], Difficulty(row["difficulty"])),
            row["metadata"]["topic"] or "",
            row["metadata"]["question_model"] or "",
            "",
            row["metadata"]["timestamp"] or "",
        )
        for row in open_published(folder / "dataset").rows()
    ]
    return _drawn(questions, difficulty, rows, seed, str(folder), {})


def questions_of_files(paths: list[Path], recipe: Recipe, difficulty: Difficulty, rows: int, seed: int) -> QuestionSet:
    """Questions of .jsonl files or folders, as `_drawn` takes them. Raises InputError questions-unreadable."""
    given = read_questions(paths, recipe.dataset.given)
    unusable = given.reasons() | ({"duplicate": given.duplicates} if given.duplicates else {})
    return _drawn(given.questions, difficulty, rows, seed, ", ".join(map(str, paths)), unusable)


def _drawn(
    questions: list[Question], difficulty: Difficulty, rows: int, seed: int, source: str, unusable: dict[str, int]
) -> QuestionSet:
    """At most `rows` of this difficulty, in an order that the seed fixes: more rows begin with those of fewer."""
    fitting = [question for question in questions if question.cell.difficulty is difficulty]
    if not fitting:
        raise InputError(
            "questions-unreadable", f"{source}: none of {counted(len(questions), 'question')} is {difficulty}"
        )
    Random(f"{seed}/compare-prompts").shuffle(fitting)
    others = {"other difficulty": len(questions) - len(fitting), "more than --rows": max(0, len(fitting) - rows)}
    left_out = {reason: count for reason, count in {**unusable, **others}.items() if count}
    return QuestionSet(fitting[:rows], left_out)
