"""Records: rows as the published files hold them, and their Parquet schemas."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cogumi.domain import Example, Question


def question_record(question: Question, scores: bool) -> dict[str, Any]:
    judgement = question.judgement
    record: dict[str, Any] = {
        "question_id": question.question_id or None,
        "domain": question.cell.domain,
        "difficulty": str(question.cell.difficulty),
        "question": question.text,
        "metadata": {
            "generated_by": question.generated_by,
            "timestamp": question.timestamp,
            "topic": question.topic,
            "request_key": question.request_key,
        },
    }
    if scores and judgement is not None:
        record["scores"] = {
            "clarity": judgement.clarity,
            "relevance": judgement.relevance,
            "difficulty": judgement.difficulty,
            "quality": judgement.quality,
            "mean": round(judgement.mean, 3),
            "judged_by": judgement.judged_by,
        }
    return record


def answer_record(example: Example) -> dict[str, Any]:
    record: dict[str, Any] = {"question_id": example.question.question_id, "answer": example.answer}
    if example.reasoning is not None:
        reasoning = example.reasoning
        record["reasoning"] = {
            "draft": reasoning.draft,
            "critique": reasoning.critique,
            "revised": reasoning.revised,
        }
    return {
        **record,
        "generated_by": example.answered_by,
        "verification": example.verification,
        "timestamp": example.timestamp,
    }


_TEXT = pa.string()
COMPLETE_SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("question_id", "domain", "difficulty", "question", "answer")),
        ("reasoning", pa.struct([("draft", _TEXT), ("critique", _TEXT), ("revised", _TEXT)])),
        (
            "metadata",
            pa.struct(
                [
                    *((name, _TEXT) for name in ("question_model", "answer_model")),
                    ("validated", pa.bool_()),
                    ("judge_mean", pa.float64()),
                    *(
                        (name, _TEXT)
                        for name in (
                            "verification",
                            "topic",
                            "question_request_key",
                            "judge_request_key",
                            "answer_request_key",
                            "timestamp",
                        )
                    ),
                ]
            ),
        ),
    ]
)
PROMPT_SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("prompt", "draft", "thinking", "response")),
        (
            "metadata",
            pa.struct(
                [
                    *((name, _TEXT) for name in ("difficulty", "domain", "task_type", "complexity")),
                    ("requires_reasoning", pa.bool_()),
                    ("harm_category", _TEXT),
                    ("token_count", pa.int64()),
                    *((name, _TEXT) for name in ("teacher_model", "classified_by", "question_id")),
                ]
            ),
        ),
    ]
)
