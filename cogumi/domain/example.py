"""Example: a question with its answer, as the first record format of the spec (section 1.5) has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cogumi.domain.cells import DOMAINS
from cogumi.domain.question import Question
from cogumi.domain.traits import Traits

Verification = Literal["passed", "unverified", "no-verifier"]
"""`unverified`: a verifier exists but could not run (no sandbox).

`no-verifier`: nothing can check this row by machine.
"""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Draft, critique and revised solution of a hard answer (spec section 1.4)."""

    draft: str
    critique: str
    revised: str


@dataclass(frozen=True, slots=True)
class Example:
    """One training row: question, answer, and for hard ones the reasoning. `reasoning` is None for easy rows."""

    question: Question
    answer: str
    reasoning: Reasoning | None
    answered_by: str
    request_key: str
    timestamp: str
    verification: Verification

    def to_json(self) -> dict[str, Any]:
        """Everything, for the shard files that later stages read back."""
        return {
            "question": self.question.to_json(),
            "answer": self.answer,
            "reasoning": _reasoning_json(self.reasoning),
            "answered_by": self.answered_by,
            "request_key": self.request_key,
            "timestamp": self.timestamp,
            "verification": self.verification,
        }

    def content(self) -> dict[str, Any]:
        """What a dataset is compared by: without when a file of existing questions was read, and what it is called."""
        row = self.to_json()
        return row if self.question.request_key else {**row, "question": self.question.content()}

    @staticmethod
    def from_json(row: dict[str, Any]) -> Example:
        fields = dict(row)
        reasoning = fields.pop("reasoning")
        question = Question.from_json(fields.pop("question"))
        return Example(question=question, reasoning=Reasoning(**reasoning) if reasoning else None, **fields)

    def to_record(self) -> dict[str, Any]:
        """The record of spec section 1.5, as training_*_complete.jsonl holds it."""
        question = self.question
        judgement = question.judgement
        return {
            "question_id": question.question_id,
            "domain": question.cell.domain,
            "difficulty": str(question.cell.difficulty),
            "question": question.text,
            "answer": self.answer,
            "reasoning": _reasoning_json(self.reasoning),
            "metadata": {
                "question_model": question.generated_by,
                "answer_model": self.answered_by,
                "validated": judgement is not None,
                "judge_mean": round(judgement.mean, 3) if judgement else None,
                "verification": self.verification,
                "topic": question.topic,
                "question_request_key": question.request_key,
                "judge_request_key": judgement.request_key if judgement else None,
                "answer_request_key": self.request_key,
                "timestamp": self.timestamp,
            },
        }

    def to_prompt_record(self, traits: Traits, token_count: int) -> dict[str, Any]:
        """The record of spec section 1.12: prompt and response, for hard rows draft and thinking between them.

        The critique is the thinking; the revised solution stays in the first format, the final answer is the response.
        """
        question = self.question
        sections = {}
        if self.reasoning is not None:
            sections = {"draft": self.reasoning.draft, "thinking": self.reasoning.critique}
        return {
            "prompt": question.text,
            **sections,
            "response": self.answer,
            "metadata": {
                "difficulty": str(question.cell.difficulty),
                "domain": DOMAINS[question.cell.domain],
                "task_type": traits.task_type,
                "complexity": traits.complexity,
                "requires_reasoning": traits.requires_reasoning,
                "harm_category": traits.harm_category,
                "token_count": token_count,
                "teacher_model": self.answered_by,
                "classified_by": traits.classified_by,
                "question_id": question.question_id,
            },
        }


def _reasoning_json(reasoning: Reasoning | None) -> dict[str, str] | None:
    if reasoning is None:
        return None
    return {"draft": reasoning.draft, "critique": reasoning.critique, "revised": reasoning.revised}
