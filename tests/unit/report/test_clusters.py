"""Near-duplicates of a whole run: left out, kept as clusters, and shown in the report without their markup."""

from __future__ import annotations

import json
from pathlib import Path

from cogumi.dataset.given import read_questions
from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.recipe import load_recipe
from cogumi.report.build import write_report
from cogumi.store.run_folder import RunFolder

WALL = "Why does a wall of dry stone keep standing in the winter storms of the {} coast of Scotland? {}"
RIVER = "Describe how the level of a tidal river changes over one day, in about {} words, for a {}."


async def test_clusters_of_a_run_are_told_in_its_report(tmp_path: Path) -> None:
    texts = [
        WALL.format(side, "<img src=x onerror=alert(1)>") for side in ("north-east", "north-west", "north eastern")
    ]
    texts += [RIVER.format(100, "child"), RIVER.format(100, "child of ten"), RIVER.format(120, "child")]
    texts += ["What is the capital of a country that has none?"]
    rows = [{"question": text, "domain": "Reasoning", "difficulty": "easy"} for text in texts]
    file = tmp_path / "q.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load_recipe("tiny", ["dataset.judge.pass_mean=0"])
    with RunFolder.open(tmp_path, "r", recipe) as folder:
        given = read_questions([file])
        async with open_dataset_run(recipe, folder) as run:
            figures = await generate(run, Plan.for_questions(given.questions, recipe), given)
    told = [json.loads(line) for line in (folder.path / "dataset" / "near_duplicates.jsonl").read_text().splitlines()]
    clusters = {
        kept: [row["question"] for row in told if row["kept"] == kept] for kept in {row["kept"] for row in told}
    }
    assert clusters == {texts[0]: texts[1:3], texts[3]: [texts[4]]}, "another number is another question"
    assert figures["near_duplicates"] == 3 and figures["rows"] == 4
    assert all(row["kept_question_id"].startswith("reasoning_easy_") for row in told)
    report = write_report(folder.path)
    page = (folder.path / "report.html").read_text()
    assert report["stages"]["generate_dataset"]["near_duplicates"] == 3
    assert "3 rows in 2 clusters" in page and page.count('class="cluster"') == 2
    assert page.count("&lt;img src=x") >= 3 and "<img" not in page
