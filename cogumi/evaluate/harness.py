"""Export to lm-evaluation-harness: the same rows as its tasks, so that anybody can check our figures with it.

    export(rows, Path("lm-eval"))

    lm_eval --model hf --model_args pretrained=runs/demo/merged --include_path lm-eval --tasks cogumi_mmlu

Prompts are written out with the tokens of the chat (see `lm.chat`), so that no template is to be applied again. Choices
are `multiple_choice` tasks, whose accuracy is that of the highest log-likelihood, as ours; numbers are generated and
read by the same rule; all others are `loglikelihood` tasks of their references, whose samples hold our nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cogumi.evaluate.asking import asked
from cogumi.evaluate.benchmarks.mmlu import LETTERS
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.store.files import write_atomic, write_jsonl

PREFIX = "cogumi_"
_NUMBER = r"(?:####\s*)?(-?(?:\d[\d,]*(?:\.\d+)?|\.\d+))"


def export(rows: Sequence[BenchmarkRow], folder: Path) -> list[str]:
    """A YAML and a JSONL for each benchmark; returns the tasks' names. Raises StorageError."""
    folder.mkdir(parents=True, exist_ok=True)
    sources: dict[str, list[BenchmarkRow]] = {}
    for row in rows:
        sources.setdefault(row.source, []).append(row)
    names = []
    for source, members in sorted(sources.items()):
        name = PREFIX + source.replace("-", "_")
        write_jsonl(folder / f"{name}.jsonl", (_line(row) for row in members))
        task = {**_task(members[0].scoring), "task": name, **_data(folder / f"{name}.jsonl")}
        write_atomic(folder / f"{name}.yaml", yaml.safe_dump(task, sort_keys=True).encode())
        names.append(name)
    return names


def context(question: str) -> str:
    """A question up to where the assistant begins, as text with the tokens of the chat."""
    return (
        f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{question.strip()}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def _line(row: BenchmarkRow) -> dict[str, Any]:
    question, reference = asked(row)
    choices = list(row.more["choices"]) if row.scoring is Scoring.RANKED else []
    if row.scoring is Scoring.CHOICE:
        choices = list(LETTERS[: len(row.more["choices"])])
    return {
        "key": row.key,
        "context": context(question),
        "reference": reference.strip(),
        "answer": row.responses[0],
        "choices": choices,
        "gold": choices.index(row.responses[0]) if choices else 0,
    }


def _data(file: Path) -> dict[str, Any]:
    return {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file.resolve())}},
        "test_split": "test",
        "num_fewshot": 0,
        "metadata": {"version": 1.0},
    }


def _task(scoring: Scoring) -> Mapping[str, Any]:
    shared = {"doc_to_text": "{{context}}", "target_delimiter": ""}
    if scoring in (Scoring.CHOICE, Scoring.RANKED):
        metric = "acc" if scoring is Scoring.CHOICE else "acc_norm"
        return shared | {
            "output_type": "multiple_choice",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "gold",
            "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
        }
    if scoring is Scoring.NUMBER:
        last = {"function": "regex", "regex_pattern": _NUMBER, "group_select": -1}
        return shared | {
            "output_type": "generate_until",
            "doc_to_target": "answer",
            "generation_kwargs": {"until": ["<|eot_id|>"], "do_sample": False, "max_gen_toks": 512},
            "filter_list": [{"name": "last-number", "filter": [last, {"function": "take_first"}]}],
            "metric_list": [
                {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "regexes_to_ignore": [","]}
            ],
        }
    return shared | {
        "output_type": "loglikelihood",
        "doc_to_target": "reference",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
