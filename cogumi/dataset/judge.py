"""The judge: four scores a question, several questions a call, hidden questions among them (spec section 1.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cogumi.dataset.hidden import Hidden, hidden_questions
from cogumi.dataset.parse import parse_verdicts
from cogumi.dataset.prompts import judge_prompt
from cogumi.domain import Cell, Judgement, Question, Traits
from cogumi.recipe import JudgeSection, content_hash
from cogumi.teachers.procedural.classify import classify
from cogumi.teachers.types import Reply

_TRIES_A_CALL = 3
Scored = tuple[Question | Hidden, Judgement, dict[str, Any]]
AskJudge = Callable[[str, str, int], Awaitable[Reply | None]]
"""(system, user, replica) -> the reply, or None where the call failed for good."""


@dataclass(slots=True)
class Verdicts:
    """Judged questions in their order, those nobody scored, and how the judge did on the hidden ones."""

    judged: list[Question] = field(default_factory=list)
    unjudged: list[Question] = field(default_factory=list)
    hidden_right: int = 0
    hidden_seen: int = 0
    hidden_missed: dict[str, int] = field(default_factory=dict)


def judge_groups(questions: list[Question], section: JudgeSection) -> list[list[Question]]:
    """Questions by call, with room left for the hidden ones."""
    size = max(1, section.per_call - hidden_count(section))
    return [questions[start : start + size] for start in range(0, len(questions), size)]


def hidden_count(section: JudgeSection) -> int:
    return max(1, round(section.per_call * section.hidden_share)) if section.hidden_share > 0 else 0


async def judge_group(group: list[Question], cell: Cell, section: JudgeSection, seed: int, ask: AskJudge) -> Verdicts:
    """Judge one call's worth of questions; what the reply leaves out is asked once more, then counted as unjudged."""
    rng = Random(f"{seed}/{content_hash([question.text for question in group])}")
    slots: list[Question | Hidden] = [*group, *hidden_questions(cell, hidden_count(section), rng)]
    rng.shuffle(slots)
    verdicts = Verdicts()
    left = slots
    for replica in range(2):
        scored, left = await _ask_about(left, cell, section, replica, ask)
        for slot, judgement, row in scored:
            _note(verdicts, slot, judgement, row, section)
        if not left:
            break
    verdicts.unjudged += [slot for slot in left if isinstance(slot, Question)]
    order = {question.text: place for place, question in enumerate(group)}
    verdicts.judged.sort(key=lambda question: order[question.text])
    return verdicts


async def _ask_about(
    slots: list[Question | Hidden], cell: Cell, section: JudgeSection, replica: int, ask: AskJudge
) -> tuple[list[Scored], list[Question | Hidden]]:
    """One call: the slots scored, with their judgements and rows, and those left."""
    prompt = judge_prompt([(slot.text, cell) for slot in slots], section.classify)
    reply = None
    for _ in range(_TRIES_A_CALL):  # its questions are paid for: a judge that was away is asked again
        reply = reply or await ask(prompt.system, prompt.user, replica)
    if reply is None:
        return [], slots
    found = parse_verdicts(reply.text)
    scored: list[Scored] = []
    left: list[Question | Hidden] = []
    for number, slot in enumerate(slots, 1):
        if number in found:
            verdict = found[number]
            judgement = Judgement(**verdict.scores, judged_by=reply.model, request_key=reply.request_key)
            scored.append((slot, judgement, verdict.row))
        else:
            left.append(slot)
    return scored, left


def _note(
    verdicts: Verdicts, slot: Question | Hidden, judgement: Judgement, row: dict[str, Any], section: JudgeSection
) -> None:
    if isinstance(slot, Question):
        verdicts.judged.append(slot.judged(judgement, traits_of(slot, row) if section.classify else None))
        return
    verdicts.hidden_seen += 1
    if (judgement.mean >= section.pass_mean) == slot.good:
        verdicts.hidden_right += 1
    else:
        verdicts.hidden_missed[slot.kind] = verdicts.hidden_missed.get(slot.kind, 0) + 1


def traits_of(question: Question, row: dict[str, Any]) -> Traits:
    """What kind of task a question is: its family knows, else the judge says, else rules guess and are marked so."""
    by_text = classify(question.text, question.cell.domain, str(question.cell.difficulty))
    if by_text.classified_by == "family":
        return by_text
    return Traits.from_reply(row, question.cell.domain) or by_text
