"""The stage as a whole, in process, over real HTTP: exact counts, resumption, replacement, and what a report is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cogumi.dataset import answers as answers_module
from cogumi.dataset.duplicates import fingerprint
from cogumi.dataset.estimate import estimate
from cogumi.dataset.given import read_questions
from cogumi.dataset.merge import Merge
from cogumi.dataset.settle import settle
from cogumi.dataset.shards import Grown, Shard, plan_shards
from cogumi.dataset.tally import GrownTally
from cogumi.domain import Cell, Difficulty, Example, Judgement, Question, Reasoning
from cogumi.errors import BudgetError, InputError, RunError
from cogumi.recipe import GivenSection, Recipe, load_recipe
from cogumi.store.artifacts import verify
from cogumi.store.ledger import Ledger
from cogumi.teachers.server.serve import LoopbackProcess
from tests.conftest import bill_of
from tests.unit.dataset.running import rows_of, run_stage, tiny


async def test_every_cell_holds_exactly_its_count_and_every_answer_passes_its_verifier(tmp_path: Path) -> None:
    figures = await run_stage(tmp_path, tiny(loopback__defect_share=0.2, loopback__wrong_share=0.1))
    rows = rows_of(tmp_path / "r", "80")
    counts = Counter(f"{row['domain']}/{row['difficulty']}" for row in rows)
    assert set(counts) == set(figures["cells"]) and len(counts) == 16
    assert all(count == (4 if cell.endswith("easy") else 6) for cell, count in counts.items())
    assert counts == figures["cells"]
    assert len({row["question_id"] for row in rows}) == len({row["question"] for row in rows}) == 80
    assert {row["metadata"]["verification"] for row in rows} <= {"passed", "unverified"}
    assert all((row["reasoning"] is None) == (row["difficulty"] == "easy") for row in rows)
    assert sum(n for reason, n in figures["rejected"].items() if reason.startswith("judge/")) > 5
    assert figures["answers_asked_again"]["wrong"] > 0
    assert figures["judge_accuracy"] > 0.9 and figures["judge_hidden"] >= 16
    charges, billed = bill_of(tmp_path / "r" / "provider_bill.tsv")
    assert (
        figures["cost_usd"] * 1e9 <= billed + 0.5
        and billed <= (figures["cost_usd"] + figures["at_risk_usd"]) * 1e9 + 0.5
    )
    assert charges <= figures["calls"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_the_published_files_are_those_the_spec_names_and_agree(tmp_path: Path) -> None:
    figures = await run_stage(tmp_path, tiny())
    folder = tmp_path / "r" / "dataset"
    receipt = verify(folder)
    assert {
        "questions_80.jsonl", "questions_80_validated.jsonl", "answers_easy_32.jsonl", "answers_hard_48.jsonl",
        "training_80_complete.jsonl", "training_80_complete.parquet", "README.md", "near_duplicates.jsonl",
        "train.jsonl", "train.parquet", "validation.jsonl", "validation.parquet", "test.jsonl", "test.parquet",
        "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
    } == set(receipt["files"])  # fmt: skip
    assert receipt["metrics"] == figures
    rows = rows_of(tmp_path / "r", "80")
    table = pd.read_parquet(folder / "training_80_complete.parquet")
    assert list(table["question_id"]) == [row["question_id"] for row in rows]
    assert list(table["answer"]) == [row["answer"] for row in rows]
    answers = {}
    for name in ("answers_easy_32.jsonl", "answers_hard_48.jsonl"):
        answers |= {
            row["question_id"]: row["answer"] for row in map(json.loads, (folder / name).read_text().splitlines())
        }
    assert answers == {row["question_id"]: row["answer"] for row in rows}
    assert rows[0]["question_id"] == "coding_easy_0001"
    assert "rehearsal" in (folder / "README.md").read_text()


async def test_the_same_run_again_buys_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny())
    folder = tmp_path / "r"
    before = files_of(folder / "dataset")
    charges = bill_of(folder / "provider_bill.tsv")
    await run_stage(tmp_path, tiny())
    assert bill_of(folder / "provider_bill.tsv") == charges
    assert files_of(folder / "dataset") == before


async def test_the_dataset_can_be_lost_and_is_made_again_from_the_ledger(tmp_path: Path) -> None:
    import shutil

    await run_stage(tmp_path, tiny())
    folder = tmp_path / "r"
    rows = rows_of(folder, "80")
    charges = bill_of(folder / "provider_bill.tsv")
    shutil.rmtree(folder / "dataset")
    shutil.rmtree(folder / "shards")
    await run_stage(tmp_path, tiny())
    assert rows_of(folder, "80") == rows
    assert bill_of(folder / "provider_bill.tsv") == charges


async def test_another_judge_threshold_rebuys_judgements_only(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny(loopback__fault_share=0, loopback__latency_s=0))
    first = bill_of(tmp_path / "r" / "provider_bill.tsv")[0]
    stricter = tiny(loopback__fault_share=0, loopback__latency_s=0, dataset__judge__pass_mean=7.5)
    figures = await run_stage(tmp_path, stricter, change=True)
    assert bill_of(tmp_path / "r" / "provider_bill.tsv")[0] - first <= 0.25 * first
    assert figures["rows"] == 80


async def test_a_parser_that_raises_on_a_paid_reply_costs_nothing_to_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract C1: the reply was durable before the parser saw it."""
    recipe = tiny(loopback__fault_share=0)
    broken = 0

    def raising(reply: Any, hard: bool) -> Any:
        nonlocal broken
        broken += 1
        if broken == 40:
            raise RuntimeError("a bug in the parser")
        return original(reply, hard)

    original = answers_module.read_answer
    monkeypatch.setattr(answers_module, "read_answer", raising)
    with pytest.raises(RuntimeError):
        await run_stage(tmp_path, recipe)
    ledger = Ledger.view(f"sqlite:///{tmp_path / 'r' / 'ledger.db'}", "r")
    held = ledger.replies
    ledger.close()
    bought = bill_of(tmp_path / "r" / "provider_bill.tsv")[0]
    monkeypatch.setattr(answers_module, "read_answer", original)
    figures = await run_stage(tmp_path, recipe)
    total = bill_of(tmp_path / "r" / "provider_bill.tsv")[0]
    assert figures["rows"] == 80
    assert held >= 40
    assert total - bought == figures["calls"] - figures["retries"] - held  # only what was missing was bought


async def test_the_budget_stops_the_run_and_more_money_lets_it_go_on(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="budget-reached"):
        await run_stage(tmp_path, tiny(budget__max_usd=0.15))
    _, billed = bill_of(tmp_path / "r" / "provider_bill.tsv")
    assert billed <= 0.15e9
    figures = await run_stage(tmp_path, tiny(budget__max_usd=5))
    assert figures["rows"] == 80


async def test_a_truncated_answer_is_asked_again_with_more_tokens_and_never_kept(tmp_path: Path) -> None:
    figures = await run_stage(tmp_path, tiny(dataset__answers_hard__max_tokens=40, dataset__answers_hard__tries=6))
    assert figures["answers_asked_again"]["truncated"] > 5
    ledger = Ledger.view(f"sqlite:///{tmp_path / 'r' / 'ledger.db'}", "r")
    kept = {row["metadata"]["answer_request_key"] for row in rows_of(tmp_path / "r", "80")}
    codes = {
        row["request_key"]: row["error_code"]
        for row in ledger.rows("request_key", "error_code", "state")
        if row["state"] == "received"
    }
    ledger.close()
    assert not [key for key in kept if codes[key] == "reply-truncated"]
    assert "reply-truncated" in codes.values()


async def test_the_next_prompt_is_told_what_to_avoid(tmp_path: Path) -> None:
    figures = await run_stage(tmp_path, tiny(loopback__defect_share=0.6, dataset__cells="{math: {easy: 30}}"))
    ledger = Ledger.view(f"sqlite:///{tmp_path / 'r' / 'ledger.db'}", "r")
    prompts = [
        json.loads(row["request"])["messages"][-1]["content"]
        for row in ledger.rows("request", "stage")
        if row["stage"] == "questions"
    ]
    ledger.close()
    assert figures["duplicates"] > 0
    assert "write nothing like them" not in prompts[0]
    assert any("write nothing like them" in prompt for prompt in prompts[1:])
    topics = [prompt.split("Topic: ")[1].splitlines()[0] for prompt in prompts]
    assert len(set(topics)) > len(topics) // 2


async def test_the_stage_runs_on_a_ledger_in_postgresql(
    tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGUMI_LEDGER_URL", ledger_url)
    figures = await run_stage(tmp_path, tiny())
    again = await run_stage(tmp_path, tiny())
    assert again == figures and figures["rows"] == 80
    assert not (tmp_path / "r" / "ledger.db").exists()


async def test_a_cell_that_cannot_be_filled_is_named_and_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        await run_stage(tmp_path, tiny(loopback__defect_share=1, dataset__max_rounds=3))
    assert caught.value.code == "cells-short"
    assert "coding/easy: " in caught.value.detail and "and 10 more; rejected most often: " in caught.value.detail
    assert not (tmp_path / "r" / "dataset").exists()


async def test_checkpoints_are_exported_on_the_way(tmp_path: Path) -> None:
    await run_stage(tmp_path, tiny(dataset__checkpoint_rows=30))
    names = sorted(path.name for path in (tmp_path / "r").glob("questions_checkpoint_*.jsonl"))
    assert names[0] == "questions_checkpoint_0001.jsonl" and len(names) >= 2


async def test_the_embedded_teacher_needs_neither_network_nor_key(tmp_path: Path) -> None:
    teachers = [f"teachers.{name}.{key}={value}" for name in ("questioner", "judge", "answerer", "thinker")
                for key, value in (("wire", "procedural"), ("base_url", "''"), ("provider", "procedural"), ("model", "procedural"))]  # fmt: skip
    figures = await run_stage(tmp_path, load_recipe("tiny", teachers))
    assert figures["rows"] == 80 and figures["cost_usd"] == 0 and figures["retries"] == 0
    assert not (tmp_path / "r" / "provider_bill.tsv").exists()


async def test_the_ninth_domain_is_ready(tmp_path: Path) -> None:
    figures = await run_stage(tmp_path, tiny(dataset__cells="{science: {easy: 3, hard: 5}}"))
    assert figures["cells"] == {"science/easy": 3, "science/hard": 5}


async def test_existing_questions_are_judged_and_answered(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    good = [
        {"question": f"Solve for x: {a}x + 1 = {a * 3 + 1}", "domain": "Math", "difficulty": "easy"}
        for a in range(2, 8)
    ]
    bad = [{"question": "Solve for x: 2x + 1 = 7", "domain": "Math", "difficulty": "easy"}, {"question": 3, "domain": "Math"},
           {"question": "A fine question, is it not?", "domain": "Astrology", "difficulty": "easy"}]  # fmt: skip
    file.write_text("\n".join([*map(json.dumps, good + bad), "{broken"]) + "\n")
    figures = await run_stage(tmp_path, tiny(), given=[file])
    assert figures["rows"] == 6 and figures["cells"] == {"math/easy": 6}
    assert figures["duplicates"] == 1
    assert {k: v for k, v in figures["rejected"].items() if k.startswith("quarantine/")} == {
        "quarantine/no-question": 1, "quarantine/unknown-domain": 1, "quarantine/not-json": 1,
    }  # fmt: skip
    assert {row["answer"] for row in rows_of(tmp_path / "r", "6")} == {"3"}


def test_missing_and_useless_question_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="questions-unreadable"):
        read_questions([tmp_path / "none.jsonl"])
    (tmp_path / "empty.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="questions-unreadable"):
        read_questions([tmp_path])


def test_the_real_questions_are_read_row_by_row(data: Path) -> None:
    given = read_questions([data / "raw_questions"])
    assert given.rows == 36_720
    assert len(given.questions) + given.duplicates + len(given.quarantined) == given.rows
    assert given.duplicates == 63
    assert all(question.cell.difficulty is Difficulty.EASY for question in given.questions)


def question(text: str, cell: Cell = Cell("math", Difficulty.EASY)) -> Question:
    judgement = Judgement(8, 8, 8, 8, "judge", "jk")
    return Question(text, cell, "topic", "model", "key", "2026-01-01T00:00:00+00:00", judgement=judgement)


def test_a_question_in_two_shards_stays_in_the_first_and_a_spare_takes_its_place() -> None:
    one = tally(0, "A first question?", "A second one?")
    two = tally(1, "a second one", "A third one?", "A spare one?")
    settled = settle([one, two], failed=set())
    assert settled.chosen[two.shard.name] == [fingerprint("A third one?"), fingerprint("A spare one?")]
    assert settled.duplicates == 1 and settled.short == {}
    two = tally(1, "a second one", "A third one?")
    assert settle([one, two], failed=set()).short == {two.shard.name: 1}


def tally(index: int, *texts: str) -> GrownTally:
    grown = Grown(Shard(Cell("math", Difficulty.EASY), index, 2), [question(text) for text in texts])
    return GrownTally.of(grown, {"path": "a.json", "sha256": ""})


def test_shards_split_a_cell_evenly() -> None:
    shards = plan_shards(load_recipe("spec-60k").dataset)
    assert sum(shard.rows for shard in shards) == 60_000
    assert max(shard.rows for shard in shards) <= 1000 and len(shards) <= 100
    assert len({shard.name for shard in shards}) == len(shards)


def example(text: str, number: int) -> Example:
    asked = replace(question(text), question_id=f"math_easy_{number:04d}")
    return Example(asked, "4", None, "model", "key", "2026-01-01T00:00:00+00:00", "passed")


def merge(rows: list[Example]) -> Merge:
    merged = Merge()
    assert list(merged.watch(rows)) == rows
    return merged


def test_the_merge_refuses_what_the_spec_forbids() -> None:
    good = [example("One plus one?", 1), example("Two plus two?", 2)]
    assert merge(good).check({"math/easy": 2}) == {"math/easy": 2}
    broken: dict[str, tuple[list[Example], dict[str, int]]] = {
        "counts differ": (good, {"math/easy": 3}),
        "doubled question_id": (
            [good[0], replace(good[1], question=replace(good[1].question, question_id="math_easy_0001"))],
            {"math/easy": 2},
        ),
        "doubled question:": ([good[0], example("one plus ONE", 2)], {"math/easy": 2}),
        "missing field": ([good[0], replace(good[1], answer="")], {"math/easy": 2}),
    }
    for check, (rows, expected) in broken.items():
        with pytest.raises(RunError, match=check):
            merge(rows).check(expected)
    reasoned = replace(good[1], reasoning=Reasoning("d", "c", "r"))
    with pytest.raises(RunError, match="missing field"):
        merge([good[0], reasoned]).check({"math/easy": 2})


def test_the_estimate_is_near_what_the_demo_costs() -> None:
    expected = estimate(load_recipe("demo"))
    assert 0.6 <= expected["cost_usd"] <= 0.85  # measured: 0.74
    spec = estimate(load_recipe("spec-60k"))
    assert spec["calls"] == pytest.approx(74_000, rel=0.05)
    assert spec["plain_usd"] == pytest.approx(287, rel=0.05)
    assert spec["cost_usd"] == pytest.approx(0.508 * spec["plain_usd"], rel=0.01)  # batches alone: no guide
    assert spec["minutes"] > 1000


def test_existing_questions_are_priced_by_their_difficulty() -> None:
    def calls(easy: int, hard: int) -> dict[str, int]:
        expected = estimate(load_recipe("demo"), given=Counter({Difficulty.EASY: easy, Difficulty.HARD: hard}))
        return {stage["stage"]: stage["calls"] for stage in expected["stages"]}

    assert calls(90, 0) == {"judge": 10, "answers_easy": 90}
    assert calls(30, 60) == {"judge": 10, "answers_easy": 30, "answers_hard": 60}


async def test_an_outage_uses_up_no_rounds(tmp_path: Path, loopback: Callable[..., LoopbackProcess]) -> None:
    """A provider that is away for longer than the retries stops the run; when it is back, the run has lost nothing."""
    away = loopback(script=["503"] * 1000)
    back = loopback()

    def pointed_at(provider: LoopbackProcess) -> Recipe:
        changes = ["dataset.max_rounds=3"]
        for name in ("questioner", "judge", "answerer", "thinker"):
            root = provider.url if name == "thinker" else f"{provider.url}/v1"
            changes += [f"teachers.{name}.base_url={root}", f"teachers.{name}.allow_loopback_http=true"]
            changes += [f"teachers.{name}.max_attempts=1", f"teachers.{name}.backoff_s=[0.01]"]
        return load_recipe("tiny", [*changes, "dataset.cells={math: {easy: 4}}"])

    for _ in range(3):
        with pytest.raises(RunError, match="too-many-failures"):
            await run_stage(tmp_path, pointed_at(away))
    figures = await run_stage(tmp_path, pointed_at(back))
    assert figures["rows"] == 4


def test_rows_without_domain_take_the_recipes_and_an_input_is_part_of_the_question(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Translate into French.", "input": "Good morning", "output": "Bonjour"},
        {"instruction": "Name three rivers of Europe.", "input": "", "output": "..."},
        "not a row",
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "broken.json").write_text("{")
    defaults = GivenSection(domain="instruction", difficulty="easy")
    given = read_questions([tmp_path], defaults)
    assert [q.text for q in given.questions] == [
        "Translate into French.\n\nGood morning",
        "Name three rivers of Europe.",
    ]
    assert {str(q.cell) for q in given.questions} == {"instruction/easy"}
    assert given.reasons() == {"not-an-array": 1, "not-an-object": 1}
    with pytest.raises(InputError, match=r"questions-unreadable.*2 rows without a domain; 1 row without a JSON object"):
        read_questions([tmp_path / "rows.json"])


def test_wrong_encodings_and_repeated_ids_are_no_trap(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are quarantined by line; ids of foreign rows are not used, so repeated ones do no harm."""
    lines = [
        b'{"id": 1, "question": "What is the capital of Peru?", "domain": "reading", "difficulty": "easy"}',
        b'{"id": 1, "question": "What is the capital of Chile?", "domain": "reading", "difficulty": "easy"}',
        '{"question": "Où est la gare, s\'il vous plaît?", "domain": "reading", "difficulty": "easy"}'.encode(
            "latin-1"
        ),
        '{"question": "What is UTF-16?", "domain": "reading", "difficulty": "easy"}'.encode("utf-16"),
    ]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    given = read_questions([tmp_path / "rows.jsonl"])
    assert len(given.questions) == 2
    assert {(q.line, q.reason) for q in given.quarantined} >= {(3, "not-json"), (4, "not-json")}
