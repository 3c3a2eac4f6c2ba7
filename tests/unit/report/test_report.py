"""The report: complete, offline, and safe whatever models have written."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import RunError
from cogumi.recipe import load_recipe
from cogumi.report.build import write_report
from cogumi.report.html import funnel, verdict
from cogumi.store.run_folder import RunFolder

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)',
    "image": "<img src=x onerror=alert(1)>",
    "link": "[click](javascript:alert(1))",
    "style": "</style><style>body{display:none}</style>",
    "template": "{{ 7 * 7 }}{% raw %}",
    "comment": "<!-- --><svg/onload=alert(1)>",
    "terminal": "\x1b[31mred\x1b]0;title\x07",
    "reordering": "abc\u202edcba\u2066x",
    "entity": "&lt;script&gt;",
    "end of pre": "</pre></details></main><iframe src=//evil.example>",
}


class Tags(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
async def finished(tmp_path: Path) -> Path:
    recipe = load_recipe("tiny")
    with RunFolder.open(tmp_path, "r", recipe, "cogumi run dataset --recipe tiny --run r") as folder:
        async with open_dataset_run(recipe, folder) as run:
            await generate(run, Plan.for_recipe(recipe))
    return tmp_path / "r"


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


async def test_the_report_has_every_figure_the_issue_of_a_run_needs(finished: Path) -> None:
    report = write_report(finished)
    stage = report["stages"]["generate_dataset"]
    for key in (
        "status",
        "rows",
        "cells",
        "rejected",
        "duplicates",
        "calls",
        "retries",
        "judge_accuracy",
        "cost_usd",
        "at_risk_usd",
        "seconds",
    ):
        assert key in stage, key
    assert stage["status"] == "completed" and sum(stage["cells"].values()) == stage["rows"] == 80
    assert json.loads((finished / "report.json").read_text()) == report
    assert report["rerun"] == "cogumi run dataset --recipe tiny --run r"
    assert sum(row["cost_usd"] for row in report["cost"]) == pytest.approx(stage["cost_usd"])
    assert sum(row["count"] for row in report["retries"]) == stage["retries"]
    page = (finished / "report.html").read_text()
    text = " ".join(parsed(page).words)
    for words in (
        "Funnel",
        "Rows by domain",
        "Tokens by domain",
        "Length",
        "Cost by stage and model",
        "20 random rows",
        "liked least",
        "Where it came from",
        "A rehearsal",
    ):
        assert words in text, words
    assert page.count("<details>") == 40
    assert sum(stage["tokens_by_domain"].values()) == sum(stage["tokens"].values()) > 1000
    assert verdict(stage) in text


async def test_a_recipe_that_has_changed_is_shown_with_what_a_change_that_failed_has_cost(finished: Path) -> None:
    assert write_report(finished)["stages"]["generate_dataset"]["besides_usd"] == 0
    failed = load_recipe("tiny", ["dataset.judge.pass_mean=9.9", "dataset.max_rounds=2"])
    with (
        pytest.raises(RunError, match="cells-short"),
        RunFolder.open(finished.parent, "r", failed, change=True) as folder,
    ):
        async with open_dataset_run(failed, folder) as run:
            await generate(run, Plan.for_recipe(failed))
    stage = write_report(finished)["stages"]["generate_dataset"]
    assert stage["besides_usd"] > 0 and "for replies it holds nothing of" in verdict(stage)
    page = (finished / "report.html").read_text()
    assert "Changes of the recipe" not in page and "is at least 7." in page

    recipe = load_recipe("tiny", ["dataset.judge.pass_mean=7.5"])
    with RunFolder.open(finished.parent, "r", recipe, change=True) as folder:
        async with open_dataset_run(recipe, folder) as run:
            await generate(run, Plan.for_recipe(recipe))
    report = write_report(finished)
    assert [key for change in report["changes"] for key in change["keys"]] == [
        {"key": "dataset.judge.pass_mean", "old": 7.0, "new": 7.5}
    ]
    text = " ".join(parsed((finished / "report.html").read_text()).words)
    assert "Changes of the recipe" in text and "dataset.judge.pass_mean 7.0 7.5" in " ".join(text.split())
    assert "is at least 7.5" in text


async def test_the_page_asks_for_nothing_from_outside(finished: Path) -> None:
    write_report(finished)
    page = (finished / "report.html").read_text()
    tags = parsed(page)
    assert not {"script", "link", "iframe", "img", "object", "embed", "form"} & set(tags.tags)
    assert not [
        name for name, _ in tags.attributes if name in ("src", "href", "srcset", "action") or name.startswith("on")
    ]
    assert "default-src 'none'" in page and "url(" not in page and "@import" not in page
    assert len(page) < 5_000_000


@pytest.mark.parametrize("kind", HOSTILE)
async def test_generated_text_stays_text(finished: Path, kind: str) -> None:
    path = finished / "dataset" / "training_80_complete.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["question"] = row["answer"] = HOSTILE[kind] + " " + row["question"]
        row["metadata"]["answer_model"] = HOSTILE[kind]
        if row["reasoning"]:
            row["reasoning"]["draft"] = HOSTILE[kind]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_report(finished)
    page = (finished / "report.html").read_text()
    tags = parsed(page)
    assert not {"script", "iframe", "img"} & set(tags.tags)
    assert tags.tags.count("style") == 1 and tags.tags.count("svg") == 2
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    if kind == "template":
        assert "{{ 7 * 7 }}{% raw %}" in page
    assert not re.search("[\x1b\u202e\u2066]", page)


async def test_the_funnel_adds_up(finished: Path) -> None:
    stage = write_report(finished)["stages"]["generate_dataset"]
    steps = funnel(stage)
    for (_, before, _), (name, after, lost) in pairwise(steps):
        assert before - sum(lost.values()) == after, (name, before, lost, after)


def test_a_run_that_has_not_finished_gets_a_report_that_says_so(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "r", load_recipe("tiny")) as folder:
        report = write_report(folder.path)
    assert report["stages"]["generate_dataset"]["status"] == "incomplete"
    assert "Not complete" in (tmp_path / "r" / "report.html").read_text()
    with pytest.raises(RunError, match="run-not-found"):
        write_report(tmp_path / "nobody")


async def test_a_headline_ends_between_words_and_says_that_it_goes_on(finished: Path) -> None:
    write_report(finished)
    page = (finished / "report.html").read_text()
    headlines = [
        unescape(told).rsplit(" \u00b7 ", 1)[1] for told in re.findall(r"<summary>(.*?)</summary>", page, re.S)
    ]
    questions = [unescape(told) for told in re.findall(r"<h3>Question</h3><pre>(.*?)</pre>", page, re.S)]
    cut = 0
    for headline, question in zip(headlines, questions, strict=True):
        if len(question) <= 110:
            assert headline == question
        else:
            cut += 1
            shown = headline.removesuffix(" …")
            assert shown != headline and question.startswith(shown) and question[len(shown)].isspace()
            assert 60 < len(headline) <= 110
    assert 0 < cut < len(headlines)
