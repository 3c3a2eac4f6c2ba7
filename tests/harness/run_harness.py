"""Run by the harness's own Python: tasks of a folder on a model, and what each row came to, as JSON.

python run_harness.py MODEL TASKS_FOLDER OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(model: str, tasks: str, out: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    manager = TaskManager(include_path=tasks, include_defaults=False)
    names = sorted(path.stem for path in Path(tasks).glob("*.yaml"))
    language_model = HFLM(pretrained=loaded, tokenizer=tokenizer, batch_size=4, max_length=2048)
    found = simple_evaluate(
        model=language_model, tasks=names, task_manager=manager, log_samples=True, bootstrap_iters=0
    )
    rows = {
        name: [
            {"key": sample["doc"]["key"], "logprobs": [reply[0] for reply in sample["filtered_resps"]],
             **{metric: sample[metric] for metric in sample["metrics"]}}
            for sample in found["samples"][name]
        ]
        for name in names
    }  # fmt: skip
    Path(out).write_text(json.dumps({"results": found["results"], "rows": rows}, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
