"""Reviewed: the next version of a dataset, with people's decisions carried out.

Rejected rows are gone, edited ones carry their new text, and both are remembered beside the data, so that a later
scheduled run does not ask for a rejected question again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.export import Publication, write_exports
from cogumi.dataset.finished import FinishedShard
from cogumi.dataset.published import Published
from cogumi.dataset.review import Decision
from cogumi.domain import Cell, Difficulty, Example, Judgement, Question, Reasoning, Traits
from cogumi.errors import InputError
from cogumi.lm.tokenizer import load_tokenizer
from cogumi.recipe import DatasetSection, hash_all
from cogumi.store.artifacts import new_artifact
from cogumi.store.files import read_jsonl, write_jsonl

REVIEW_FILE = "review.jsonl"
_CARRIED = (
    "judge_accuracy",
    "judge_hidden",
    "cost_usd",
    "at_risk_usd",
    "near_duplicates",
    "harm_filtered",
    "rehearsal",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many rows each kind of decision touched, and how many nobody decided on."""

    accepted: int
    edited: int
    rejected: int
    undecided: int


def apply_decisions(data: Published, decisions: list[Decision], place: Path) -> Outcome:
    """Make a dataset artifact at `place` from a published one and decisions about its rows.

    Raises InputError review-unreadable where a decision is about a row that is not there, or leaves no row at all.
    """
    examples = examples_of(data)
    by_id = {decision.question_id: decision for decision in decisions}
    unknown = by_id.keys() - {e.question.question_id for e in examples}
    if unknown:
        raise InputError("review-unreadable", f"{len(unknown)} decisions about rows not in it: {sorted(unknown)[:3]}")
    kept = [_decided(e, by_id.get(e.question.question_id)) for e in examples]
    left = [example for example in kept if example is not None]
    if not left:
        raise InputError("review-unreadable", "every row is rejected")
    verdicts = Counter(decision.verdict for decision in decisions)
    outcome = Outcome(verdicts["accept"], verdicts["edit"], verdicts["reject"], len(examples) - len(decisions))
    _write(data, left, decisions, outcome, place)
    return outcome


def examples_of(data: Published) -> list[Example]:
    """The rows of a published dataset as examples again, with judgement and traits."""
    (validated,) = (name for name in data.receipt["files"] if name.endswith("_validated.jsonl"))
    scores = {row["question_id"]: row["scores"] for row in read_jsonl(data.path / validated)}
    told = {row["metadata"]["question_id"]: row["metadata"] for row in data.prompt_rows()}
    return [_example(row, scores[row["question_id"]], told[row["question_id"]]) for row in data.rows()]


def rejected_marks(rows: list[dict[str, Any]]) -> set[str]:
    """Fingerprints of the questions that a version's review file says were rejected."""
    return {row["fingerprint"] for row in rows if row["verdict"] == "reject"}


def _example(row: dict[str, Any], scores: dict[str, Any], told: dict[str, Any]) -> Example:
    metadata, reasoning = row["metadata"], row["reasoning"]
    traits = Traits(
        told["task_type"], told["complexity"], told["requires_reasoning"], told["harm_category"], told["classified_by"]
    )
    four = {name: scores[name] for name in ("clarity", "relevance", "difficulty", "quality")}
    question = Question(
        text=row["question"],
        cell=Cell(row["domain"], Difficulty(row["difficulty"])),
        topic=metadata["topic"],
        generated_by=metadata["question_model"],
        request_key=metadata["question_request_key"],
        timestamp=metadata["timestamp"],
        question_id=row["question_id"],
        judgement=Judgement(**four, judged_by=scores["judged_by"], request_key=metadata["judge_request_key"]),
        traits=traits,
    )
    return Example(
        question=question,
        answer=row["answer"],
        reasoning=Reasoning(**reasoning) if reasoning else None,
        answered_by=metadata["answer_model"],
        request_key=metadata["answer_request_key"],
        timestamp=metadata["timestamp"],
        verification=metadata["verification"],
    )


def _decided(example: Example, decision: Decision | None) -> Example | None:
    if decision is None or decision.verdict == "accept":
        return example
    if decision.verdict == "reject":
        return None
    question = replace(example.question, text=decision.question or example.question.text)
    # What a machine had checked is not what stands there now.
    return replace(example, question=question, answer=decision.answer or example.answer, verification="unverified")


def _write(data: Published, left: list[Example], decisions: list[Decision], outcome: Outcome, place: Path) -> None:
    section = DatasetSection.model_validate(data.receipt["recipe"])
    tokenizer = load_tokenizer(data.path / "tokenizer")
    inputs = hash_all([*(e.to_json() for e in left), *(asdict(d) for d in decisions)])
    cells = Counter(str(e.question.cell) for e in left)
    old = data.metrics
    texts = {row["question_id"]: row["question"] for row in data.rows()}
    shard = FinishedShard([e.question for e in left], left)
    facts = {
        "name": place.name,
        "purpose": "reviewed by people",
        "pass_mean": section.judge.pass_mean,
        "terms": {},
        "verification": Counter(e.verification for e in left),
        **{name: old[name] for name in _CARRIED},
    }
    with new_artifact(place, "generate_dataset", inputs, data.receipt["recipe"], data.receipt["seed"]) as draft:
        exported = write_exports(draft.path, Publication([shard], cells, [], section, tokenizer, facts))
        write_jsonl(
            draft.path / REVIEW_FILE,
            ({**asdict(d), "fingerprint": fingerprint(texts[d.question_id])} for d in decisions),
        )
        draft.metrics.update(
            {
                **old,
                "rows": len(left),
                "cells": dict(cells),
                "files": exported.files,
                "review": asdict(outcome),
                **exported.counted.to_json(),
            }
        )
