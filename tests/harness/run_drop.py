"""Run by the harness's own Python: DROP's authors' scorer, as the harness has it, on pairs of answers.

python run_drop.py PAIRS OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lm_eval.tasks.drop.utils import process_results


def main(pairs: str, out: str) -> None:
    found = []
    for line in Path(pairs).read_text().splitlines():
        given, golds = json.loads(line)
        told = process_results({"answers": golds}, given)
        found.append([float(told["em"]), float(told["f1"])])
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
